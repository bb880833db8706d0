"""From a gRPC status to the error that it means. No I/O."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, cast

import grpc
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, Help, QuotaFailure, RetryInfo
from google.rpc.status_pb2 import Status

from gemini.backend.v1.error_details_pb2 import ExecutionFailure, UpstreamFailure
from gemini_backend_client import errors
from gemini_backend_client.connection.reach import too_late, unreached
from gemini_backend_client.connection.resumption import name_in
from gemini_backend_client.errors import ErrorDetails, GeminiBackendError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from google.protobuf.message import Message

__all__ = ["DOMAIN", "delay_of", "error_from", "error_of"]

DOMAIN: Final = "gemini.backend"
_UNKNOWN: Final = grpc.StatusCode.UNKNOWN
_M = TypeVar("_M", bound="Message")

_BY_CODE: Final[Mapping[grpc.StatusCode, type[GeminiBackendError]]] = {
    grpc.StatusCode.INVALID_ARGUMENT: errors.InvalidRequestError,
    grpc.StatusCode.OUT_OF_RANGE: errors.InvalidRequestError,
    grpc.StatusCode.NOT_FOUND: errors.NotFoundError,
    grpc.StatusCode.UNAUTHENTICATED: errors.UnauthenticatedError,
    grpc.StatusCode.PERMISSION_DENIED: errors.ForbiddenError,
    grpc.StatusCode.ABORTED: errors.ConflictError,
    grpc.StatusCode.ALREADY_EXISTS: errors.ConflictError,
    grpc.StatusCode.FAILED_PRECONDITION: errors.PreconditionError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: errors.RateLimitedError,
    grpc.StatusCode.UNAVAILABLE: errors.UnavailableError,
    grpc.StatusCode.DEADLINE_EXCEEDED: errors.DeadlineExceededError,
    grpc.StatusCode.CANCELLED: errors.CancelledError,
    grpc.StatusCode.UNIMPLEMENTED: errors.UnimplementedError,
}
"""What a code means by itself; any other code is a ServerError."""

_BY_REASON: Final[Mapping[str, type[GeminiBackendError]]] = {
    "CALLER_MESSAGE_TOO_LARGE": errors.MessageTooLargeError,
    "CALLER_UNKNOWN_MODEL": errors.UnknownModelError,
    "CALLER_CONTEXT_TOO_LONG": errors.ContextTooLongError,
    "POLICY_BUDGET_SPENT": errors.QuotaExhaustedError,
    "POLICY_INJECTION_BLOCKED": errors.BlockedError,
    "POLICY_SESSION_FULL": errors.QuotaExhaustedError,
    "UPSTREAM_QUOTA_EXHAUSTED": errors.QuotaExhaustedError,
    "UPSTREAM_KEY_REFUSED": errors.UpstreamError,
    "UPSTREAM_PROJECT_REFUSED": errors.UpstreamError,
    "UPSTREAM_ACCOUNT_LIMITED": errors.UpstreamError,
    "UPSTREAM_STREAM_CUT": errors.UpstreamError,
    "UPSTREAM_MALFORMED_ANSWER": errors.UpstreamError,
    "UPSTREAM_ANSWER_TOO_LARGE": errors.UpstreamError,
    "UPSTREAM_PROMPT_BLOCKED": errors.BlockedError,
    "UPSTREAM_ANSWER_BLOCKED": errors.BlockedError,
    "UPSTREAM_EMPTY_ANSWER": errors.UpstreamError,
    "UPSTREAM_CANCELLED": errors.UpstreamError,
    "BACKEND_NO_UPSTREAM_KEY": errors.ServerError,
}
"""Where the reason says more than the code."""


class FailedCall(Protocol):
    """What `grpc.RpcError`s have in fact, of grpc and grpc.aio alike."""

    def code(self) -> grpc.StatusCode | None:
        """Return the status code."""

    def details(self) -> str | None:
        """Return the status message."""

    def initial_metadata(self) -> Iterable[tuple[str, str | bytes]] | None:
        """Return the initial metadata, as far as they have come."""

    def trailing_metadata(self) -> Iterable[tuple[str, str | bytes]] | None:
        """Return the trailers."""


def error_from(
    failed: grpc.RpcError, target: str, seconds: float | None, *, connected: bool = True
) -> GeminiBackendError:
    """Return the error that a failed call's status means.

    Args:
        failed: as grpc or grpc.aio raised it.
        target: the server that was called, for the message.
        seconds: how long the call was given, for the message.
        connected: whether there is a connection to the server; without one a deadline that has
            passed says that the server was not reached.
    """
    call = cast("FailedCall", failed)
    code = call.code() or _UNKNOWN
    trailers = dict(call.trailing_metadata() or ())
    status = _parse(Status, trailers.get("grpc-status-details-bin"))
    details = _read(status, trailers)
    if not details.execution_id:
        details = replace(details, execution_id=name_in(call.initial_metadata()))
    if details.reason:
        # Where gRPC refuses to deliver a status whose details it has read, those are the truth.
        told = _code(status.code, code)
        message = status.message if told is not code else call.details()
        kind = _BY_REASON.get(details.reason) or _BY_CODE.get(told, errors.ServerError)
        return kind(message or told.name, told, details)
    # A status without our details comes from gRPC itself, here or there, or from a proxy.
    message = call.details() or code.name
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        found = _beyond_a_limit(message)
        if found is not None:
            kind, explained = found
            return kind(explained, code, details)
    kind = _BY_CODE.get(code, errors.ServerError)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED and not connected:
        kind = errors.UnavailableError
    sentence = _explained(code, message, target, seconds, connected=connected)
    return kind(sentence, code, details)


def error_of(status: Status) -> GeminiBackendError:
    """Return the error that a status inside an answer means, such as that of a batch's item."""
    details = _read(status, {})
    code = _code(status.code, _UNKNOWN)
    kind = _BY_REASON.get(details.reason) or _BY_CODE.get(code, errors.ServerError)
    return kind(status.message or code.name, code, details)


def delay_of(failed: grpc.RpcError) -> float | None:
    """Return the seconds to wait that a failed call's `RetryInfo` names; None without one."""
    trailers = dict(cast("FailedCall", failed).trailing_metadata() or ())
    status = _parse(Status, trailers.get("grpc-status-details-bin"))
    return _read(status, {}).retry_after


def _code(number: int, default: grpc.StatusCode) -> grpc.StatusCode:
    return next((one for one in grpc.StatusCode if one.value[0] == number), default)


def _beyond_a_limit(message: str) -> tuple[type[GeminiBackendError], str] | None:
    """Return the kind and the message where one of gRPC's own limits ended a call.

    That is no rate limit, and waiting does not help. gRPC gives it no other mark than its words;
    "Stream removed" are those of this client.
    """
    here = message.startswith(("CLIENT:", "Stream removed"))
    if "larger than max" in message:
        advice = "send less, or upload media as files and reference them by URI"
        if here and "Sent" not in message:
            advice = (
                "the answer is larger than this client accepts; raise its option "
                "grpc.max_receive_message_length"
            )
        return errors.MessageTooLargeError, f"{message}: {advice}"
    if "metadata size exceeds" in message:
        if not here:
            return errors.InvalidRequestError, f"{message}: send less metadata with the call"
        return errors.ServerError, (
            f"{message}: the call's status is larger than this client accepts, and lost; raise its "
            "options grpc.max_metadata_size and grpc.absolute_max_metadata_size"
        )
    return (errors.ServerError, message) if here else None


def _explained(
    code: grpc.StatusCode, message: str, target: str, seconds: float | None, *, connected: bool
) -> str:
    if code is grpc.StatusCode.UNAVAILABLE:
        return unreached(target, message)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return too_late(target, seconds, connected=connected)
    return message


def _read(status: Status, trailers: dict[str, str | bytes]) -> ErrorDetails:
    packed: dict[str, Any] = {detail.TypeName(): detail for detail in status.details}
    info = _unpack(ErrorInfo, packed)
    ours = info is not None and info.domain == DOMAIN
    violations = _unpack(BadRequest, packed)
    quota = _unpack(QuotaFailure, packed)
    links = _unpack(Help, packed)
    failure = _unpack(ExecutionFailure, packed)
    return ErrorDetails(
        reason=info.reason if info is not None and ours else "",
        violations=() if violations is None else tuple(violations.field_violations),
        retry_after=_retry_after(_unpack(RetryInfo, packed), trailers),
        quota_violations=() if quota is None else tuple(quota.violations),
        help_links=() if links is None else tuple(links.links),
        upstream=_unpack(UpstreamFailure, packed),
        failure=failure,
        metadata={} if info is None else dict(info.metadata),
        execution_id="" if failure is None else failure.execution,
        last_sequence=0 if failure is None else failure.last_sequence,
        usage=failure.usage if failure is not None and failure.HasField("usage") else None,
    )


def _retry_after(info: RetryInfo | None, trailers: dict[str, str | bytes]) -> float | None:
    if info is not None:
        seconds: float = info.retry_delay.seconds + info.retry_delay.nanos / 1e9
        return seconds
    pushback = trailers.get("grpc-retry-pushback-ms")
    if isinstance(pushback, str) and pushback.isdecimal():
        return int(pushback) / 1000
    return None


def _unpack(kind: type[_M], packed: dict[str, Any]) -> _M | None:
    detail = packed.get(kind.DESCRIPTOR.full_name)
    return None if detail is None else _parse(kind, detail.value)


def _parse(kind: type[_M], data: str | bytes | None) -> _M:
    """Return the message in `data`; an empty one if it is none: the status itself still counts."""
    if isinstance(data, bytes):
        try:
            return kind.FromString(data)
        except DecodeError:
            pass
    return kind()
