"""The standard health service: one entry a service, one overall, one for liveness.

Liveness is not readiness. "liveness" answers SERVING for as long as the process can answer at
all. The overall entry "" and each service's own turn NOT_SERVING as soon as the server begins to
stop, so that a balancer looks elsewhere while running streams finish. Probes cost nothing: none
asks the model API.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from grpc_health.v1 import health, health_pb2, health_pb2_grpc

if TYPE_CHECKING:
    import grpc

# Time to hand the last status to whoever watches, before the watch is ended.
_FAREWELL_SECONDS = 0.25

LIVENESS = "liveness"
_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class _Servicer(health.aio.HealthServicer):
    """Ends its watches when the server stops; else they would hold it up to the last second."""

    def __init__(self) -> None:
        super().__init__()
        self.stopping = asyncio.Event()

    async def Watch(  # noqa: N802 - named as in the proto
        self, request: health_pb2.HealthCheckRequest, context: Any
    ) -> None:
        watch = asyncio.create_task(super().Watch(request, context))
        stop = asyncio.create_task(self.stopping.wait())
        try:
            await asyncio.wait({watch, stop}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({watch}, timeout=_FAREWELL_SECONDS)
        finally:
            watch.cancel()
            stop.cancel()
            await asyncio.gather(watch, stop, return_exceptions=True)


class Health:
    """Holds the entries of `grpc.health.v1.Health`."""

    def __init__(self, services: list[str]) -> None:
        """Have an entry for each service, by its full name."""
        self._services = services
        self._servicer = _Servicer()

    def mount(self, server: grpc.aio.Server) -> None:
        """Add the service to a server."""
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)

    async def start(self) -> None:
        """Say that everything serves."""
        await self._servicer.set(LIVENESS, _SERVING)
        await self._set(_SERVING)

    async def drain(self) -> None:
        """Say that nothing new should come, then end the watches; the process itself is well."""
        await self._set(_NOT_SERVING)
        self._servicer.stopping.set()

    async def _set(self, status: int) -> None:
        for service in ("", *self._services):
            await self._servicer.set(service, status)
