"""A `ServiceError` as a gRPC status: code, message, and typed details."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.struct_pb2 import Struct
from google.rpc import error_details_pb2, status_pb2

from gemini.backend.v1.error_details_pb2 import ExecutionFailure, UpstreamFailure
from gemini_backend.durations import duration_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from google.protobuf.message import Message

    from gemini_backend.errors import ServiceError, UpstreamReply

DOMAIN = "gemini.backend"
DETAILS_KEY = "grpc-status-details-bin"
PUSHBACK_KEY = "grpc-retry-pushback-ms"
MAX_TOKEN_BYTES = 2048
"""A longer `continuation_token` is left out of a failure: gRPC clients take 8 KiB of metadata in
all, and would lose the status. `ErrorInfo.metadata` then has its size."""


def status_of(error: ServiceError) -> status_pb2.Status:
    """Return the `google.rpc.Status` of an error, with every detail that it has."""
    status = status_pb2.Status(code=int(error.code), message=error.message)
    for detail in _details(error):
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)
    return status


def trailers_of(error: ServiceError, status: status_pb2.Status) -> dict[str, str | bytes]:
    """Return the trailers that go with the status.

    The pushback keeps a client's own retries away where a retry would be wrong, or makes them
    wait as long as it must; see gRFC A6.
    """
    trailers: dict[str, str | bytes] = {DETAILS_KEY: status.SerializeToString()}
    if error.final or error.lasting or not error.retryable:
        trailers[PUSHBACK_KEY] = "-1"
    elif error.retry_after is not None:
        trailers[PUSHBACK_KEY] = str(math.ceil(error.retry_after * 1000))
    return trailers


def _details(error: ServiceError) -> Iterator[Message]:
    metadata, failure = _bounded(error)
    yield error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata)
    if error.violations:
        yield error_details_pb2.BadRequest(
            field_violations=[
                error_details_pb2.BadRequest.FieldViolation(
                    field=item.field, description=item.description, reason=item.rule
                )
                for item in error.violations
            ]
        )
    if error.retry_after is not None:
        yield error_details_pb2.RetryInfo(retry_delay=duration_of(error.retry_after))
    if error.quota:
        yield error_details_pb2.QuotaFailure(
            violations=[
                error_details_pb2.QuotaFailure.Violation(
                    subject=item.subject, description=item.description
                )
                for item in error.quota
            ]
        )
    if error.links:
        links = [
            error_details_pb2.Help.Link(description=text, url=url) for text, url in error.links
        ]
        yield error_details_pb2.Help(links=links)
    if error.upstream is not None:
        yield _upstream(error.upstream)
    if failure is not None:
        yield failure


def _bounded(error: ServiceError) -> tuple[Mapping[str, str], ExecutionFailure | None]:
    """Return the metadata and the failure of an error without a token that is too long."""
    failure = error.failure
    size = 0 if failure is None else len(failure.continuation_token)
    if failure is None or size <= MAX_TOKEN_BYTES:
        return error.metadata, failure
    bounded = ExecutionFailure()
    bounded.CopyFrom(failure)
    bounded.ClearField("continuation_token")
    return {**error.metadata, "continuation_token_bytes": str(size)}, bounded


def _upstream(reply: UpstreamReply) -> UpstreamFailure:
    return UpstreamFailure(
        http_status=reply.http_status,
        code=reply.code,
        status=reply.status,
        message=reply.message,
        details=[_struct(detail) for detail in reply.details],
        extra=_struct(reply.extra) if reply.extra else None,
    )


def _struct(value: Mapping[str, Any]) -> Struct:
    struct = Struct()
    struct.update(value)
    return struct
