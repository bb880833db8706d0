"""The generated stubs of every service, bound to one channel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gemini.backend.v1 import (
    audit_service_pb2,
    audit_service_pb2_grpc,
    batch_service_pb2,
    batch_service_pb2_grpc,
    config_service_pb2,
    config_service_pb2_grpc,
    execute_service_pb2,
    execute_service_pb2_grpc,
    file_service_pb2,
    file_service_pb2_grpc,
    health_service_pb2,
    health_service_pb2_grpc,
    key_service_pb2,
    key_service_pb2_grpc,
    metrics_service_pb2,
    metrics_service_pb2_grpc,
    model_service_pb2,
    model_service_pb2_grpc,
    session_service_pb2,
    session_service_pb2_grpc,
    upstream_key_service_pb2,
    upstream_key_service_pb2_grpc,
)

__all__ = ["CONTRACT", "AsyncStubs", "Stubs"]

if TYPE_CHECKING:
    from google.protobuf.descriptor import FileDescriptor

CONTRACT: Final[tuple[FileDescriptor, ...]] = (
    audit_service_pb2.DESCRIPTOR,
    batch_service_pb2.DESCRIPTOR,
    config_service_pb2.DESCRIPTOR,
    execute_service_pb2.DESCRIPTOR,
    file_service_pb2.DESCRIPTOR,
    health_service_pb2.DESCRIPTOR,
    key_service_pb2.DESCRIPTOR,
    metrics_service_pb2.DESCRIPTOR,
    model_service_pb2.DESCRIPTOR,
    session_service_pb2.DESCRIPTOR,
    upstream_key_service_pb2.DESCRIPTOR,
)
"""The files of the contract that define services."""


class Stubs:
    """The stubs of every service on a blocking channel, by a short name each.

    A call made on a stub itself has no deadline and raises bare `grpc.RpcError`s; hand its method
    to `Client.call` or `Client.stream` instead, and it gets the client's deadline, metadata and
    typed errors.
    """

    def __init__(self, channel: Any) -> None:
        """Bind the stubs to `channel`."""
        self.audit: audit_service_pb2_grpc.AuditServiceStub = (
            audit_service_pb2_grpc.AuditServiceStub(channel)
        )
        self.batches: batch_service_pb2_grpc.BatchServiceStub = (
            batch_service_pb2_grpc.BatchServiceStub(channel)
        )
        self.config: config_service_pb2_grpc.ConfigServiceStub = (
            config_service_pb2_grpc.ConfigServiceStub(channel)
        )
        self.execute: execute_service_pb2_grpc.ExecuteServiceStub = (
            execute_service_pb2_grpc.ExecuteServiceStub(channel)
        )
        self.files: file_service_pb2_grpc.FileServiceStub = file_service_pb2_grpc.FileServiceStub(
            channel
        )
        self.health: health_service_pb2_grpc.HealthServiceStub = (
            health_service_pb2_grpc.HealthServiceStub(channel)
        )
        self.keys: key_service_pb2_grpc.KeyServiceStub = key_service_pb2_grpc.KeyServiceStub(
            channel
        )
        self.metrics: metrics_service_pb2_grpc.MetricsServiceStub = (
            metrics_service_pb2_grpc.MetricsServiceStub(channel)
        )
        self.models: model_service_pb2_grpc.ModelServiceStub = (
            model_service_pb2_grpc.ModelServiceStub(channel)
        )
        self.sessions: session_service_pb2_grpc.SessionServiceStub = (
            session_service_pb2_grpc.SessionServiceStub(channel)
        )
        self.upstream_keys: upstream_key_service_pb2_grpc.UpstreamKeyServiceStub = (
            upstream_key_service_pb2_grpc.UpstreamKeyServiceStub(channel)
        )


class AsyncStubs(Stubs):
    """The same stubs on a channel of grpc.aio; only their types differ."""

    audit: audit_service_pb2_grpc.AuditServiceAsyncStub
    batches: batch_service_pb2_grpc.BatchServiceAsyncStub
    config: config_service_pb2_grpc.ConfigServiceAsyncStub
    execute: execute_service_pb2_grpc.ExecuteServiceAsyncStub
    files: file_service_pb2_grpc.FileServiceAsyncStub
    health: health_service_pb2_grpc.HealthServiceAsyncStub
    keys: key_service_pb2_grpc.KeyServiceAsyncStub
    metrics: metrics_service_pb2_grpc.MetricsServiceAsyncStub
    models: model_service_pb2_grpc.ModelServiceAsyncStub
    sessions: session_service_pb2_grpc.SessionServiceAsyncStub
    upstream_keys: upstream_key_service_pb2_grpc.UpstreamKeyServiceAsyncStub
