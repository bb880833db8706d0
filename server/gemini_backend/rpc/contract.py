"""The services of the contract, and the side doors that tools use: reflection, channelz."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf import descriptor_pool
from grpc_reflection.v1alpha import reflection, reflection_pb2

from gemini.backend.v1 import (
    audit_service_pb2,
    batch_service_pb2,
    config_service_pb2,
    execute_service_pb2,
    file_service_pb2,
    health_service_pb2,
    key_service_pb2,
    metrics_service_pb2,
    model_service_pb2,
    session_service_pb2,
    upstream_key_service_pb2,
)
from gemini_backend.config import ConfigError

if TYPE_CHECKING:
    from google.protobuf.descriptor import ServiceDescriptor

_FILES = (
    execute_service_pb2,
    model_service_pb2,
    metrics_service_pb2,
    health_service_pb2,
    config_service_pb2,
    session_service_pb2,
    file_service_pb2,
    batch_service_pb2,
    key_service_pb2,
    upstream_key_service_pb2,
    audit_service_pb2,
)

SERVICES: list[ServiceDescriptor] = [
    service for file in _FILES for service in file.DESCRIPTOR.services_by_name.values()
]


def streaming_by_method(services: list[ServiceDescriptor]) -> dict[str, bool]:
    """Return every method's path, with whether its answer streams."""
    return {
        f"/{service.full_name}/{method.name}": method.server_streaming
        for service in services
        for method in service.methods
    }


_V1 = "grpc.reflection.v1.ServerReflection"
_HEALTH = "grpc.health.v1.Health"


def mount_reflection(server: grpc.aio.Server) -> None:
    """Add the reflection service under both its names, for every service of the contract.

    The two versions differ in the package's name only: one servicer answers both. The library's own
    way to mount it would take one that works in threads, since `server` may stand for the real one.
    """
    names = [*(service.full_name for service in SERVICES), _HEALTH, _V1, reflection.SERVICE_NAME]
    servicer: Any = reflection.aio.ReflectionServicer(names, pool=descriptor_pool.Default())
    handler = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        reflection_pb2.ServerReflectionRequest.FromString,
        reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    methods = {"ServerReflectionInfo": handler}
    server.add_generic_rpc_handlers(
        tuple(
            grpc.method_handlers_generic_handler(name, methods)
            for name in (_V1, reflection.SERVICE_NAME)
        )
    )


def mount_channelz(server: grpc.aio.Server) -> None:
    """Add the channelz service.

    Raises:
        ConfigError: its package is not installed.
    """
    try:
        # an optional package
        from grpc_channelz.v1 import channelz
    except ImportError:
        msg = (
            "server.channelz is true and its package is not installed; install "
            "gemini-backend[channelz]"
        )
        raise ConfigError.at(msg, "server.channelz") from None
    channelz.add_channelz_servicer(server)
