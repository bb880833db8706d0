"""The standard health service: one entry a service, one overall, one for liveness.

Liveness is not readiness. "liveness" answers SERVING for as long as the process can answer at
all. The overall entry "" and each service's own turn NOT_SERVING as soon as the server begins to
stop, so that a balancer looks elsewhere while running streams finish. Probes cost nothing: none
asks the model API.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from grpc_health.v1 import health, health_pb2, health_pb2_grpc

if TYPE_CHECKING:
    import grpc

LIVENESS = "liveness"
_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Health:
    """Holds the entries of `grpc.health.v1.Health`."""

    def __init__(self, services: list[str]) -> None:
        """Have an entry for each service, by its full name."""
        self._services = services
        self._servicer = health.aio.HealthServicer()

    def mount(self, server: grpc.aio.Server) -> None:
        """Add the service to a server."""
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)

    async def start(self) -> None:
        """Say that everything serves."""
        await self._servicer.set(LIVENESS, _SERVING)
        await self._set(_SERVING)

    async def drain(self) -> None:
        """Say that nothing new should come; the process itself is well."""
        await self._set(_NOT_SERVING)

    async def _set(self, status: int) -> None:
        for service in ("", *self._services):
            await self._servicer.set(service, status)
