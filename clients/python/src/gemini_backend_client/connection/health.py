"""The standard health check, `grpc.health.v1`, without its package."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from google.protobuf.wrappers_pb2 import Int32Value, StringValue

if TYPE_CHECKING:
    import grpc

__all__ = ["ServingStatus", "health_check"]


class ServingStatus(IntEnum):
    """What a server says of itself, or of one of its services."""

    UNKNOWN = 0
    SERVING = 1
    NOT_SERVING = 2
    SERVICE_UNKNOWN = 3

    @classmethod
    def _missing_(cls, value: object) -> ServingStatus | None:
        """Take a status that is newer than this client for UNKNOWN."""
        return cls.UNKNOWN if isinstance(value, int) else None


def health_check(
    channel: grpc.Channel,
) -> grpc.UnaryUnaryMultiCallable[StringValue, Int32Value]:
    """Return the method `Check` on `channel`.

    `HealthCheckRequest` is a string in field 1, `HealthCheckResponse` an enum in field 1: on the
    wire just what protobuf's own wrappers are. So the client needs no further dependency, and its
    stubs cannot clash with those of grpcio-health-checking.
    """
    return channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=StringValue.SerializeToString,
        response_deserializer=Int32Value.FromString,
    )
