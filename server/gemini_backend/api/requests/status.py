"""A `ServiceError` as a gRPC status: code, message, typed details, and the trailers with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.struct_pb2 import Struct
from google.rpc import error_details_pb2, status_pb2

from gemini.backend.v1.error_details_pb2 import UpstreamFailure
from gemini_backend.api.requests.draft import Draft
from gemini_backend.api.requests.metadata_size import METADATA_BYTES, size_of, status_size
from gemini_backend.api.requests.pushback import PUSHBACK_KEY, pushback_of
from gemini_backend.api.requests.shortening import shortened
from gemini_backend.durations import duration_of
from gemini_backend.errors import masked
from gemini_backend.sizes import KIB, MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any

    from google.protobuf.message import Message

    from gemini_backend.errors import ServiceError, UpstreamReply

DOMAIN = "gemini.backend"
DETAILS_KEY = "grpc-status-details-bin"
MESSAGE_BYTES = 256 * KIB
"""The most that one status takes inside of a message, such as that of a batch's item: a client
refuses a message of more than 4 MiB, and with it the other items."""
WHOLE_BYTES = 2 * MIB
"""The most that a status takes by itself, in the answer to GetExecution: twice of what a request
takes as `continuation_token`, and within what a client accepts."""
MOST_ENTRIES = 1000
"""More violations, quotas or links than these are counted and not named."""


def status_of(error: ServiceError) -> status_pb2.Status:
    """Return the `google.rpc.Status` of an error as it stands in a message.

    It has every detail; what exceeds `MESSAGE_BYTES` is shortened.
    """
    return _fitting(_draft(error), MESSAGE_BYTES, lambda status: status.ByteSize())


def whole_status_of(error: ServiceError) -> status_pb2.Status:
    """Return the status of an error with every detail, up to `WHOLE_BYTES`."""
    return _fitting(_draft(error), WHOLE_BYTES, lambda status: status.ByteSize())


def refusal_of(
    error: ServiceError,
    execution: str,
    *,
    others: Iterable[tuple[str, str | bytes]] = (),
    remaining: float | None = None,
) -> tuple[str, dict[str, str | bytes]]:
    """Return the message and the trailers with which an RPC ends.

    Together with `others` they take at most `METADATA_BYTES`: gRPC clients refuse more than 8 KiB,
    and then report a failure of their own. What is shortened, and in which order, stands in
    `shortening`; the message is the one in the details, as clients check.

    Args:
        error: Why the RPC failed.
        execution: The name of what it began.
        others: Further metadata of the RPC, by key; not shortened.
        remaining: Seconds until the deadline; None for no deadline.
    """
    trailers: dict[str, str | bytes] = {}
    pushback = pushback_of(error, execution, remaining)
    if pushback is not None:
        trailers[PUSHBACK_KEY] = str(pushback)
    taken = sum(size_of(key, value) for key, value in (*others, *trailers.items()))
    status = _fitting(_draft(error), METADATA_BYTES - taken, status_size)
    trailers[DETAILS_KEY] = status.SerializeToString()
    return status.message, trailers


def _fitting(
    draft: Draft, room: int, sized: Callable[[status_pb2.Status], int]
) -> status_pb2.Status:
    status = draft.status()
    if sized(status) <= room and not draft.left_out:
        return status
    return shortened(draft, room, sized)


def _draft(error: ServiceError) -> Draft:
    masked(error)
    lists = {"violations": error.violations, "quota": error.quota, "links": error.links}
    left_out = {
        name: len(entries) - MOST_ENTRIES
        for name, entries in lists.items()
        if len(entries) > MOST_ENTRIES
    }
    return Draft(int(error.code), error.message, tuple(_details(error)), left_out)


def _details(error: ServiceError) -> Iterator[Message]:
    yield error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.metadata)
    if error.violations:
        yield error_details_pb2.BadRequest(
            field_violations=[
                error_details_pb2.BadRequest.FieldViolation(
                    field=item.field, description=item.description, reason=item.rule
                )
                for item in error.violations[:MOST_ENTRIES]
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
                for item in error.quota[:MOST_ENTRIES]
            ]
        )
    if error.links:
        links = [
            error_details_pb2.Help.Link(description=text, url=url)
            for text, url in error.links[:MOST_ENTRIES]
        ]
        yield error_details_pb2.Help(links=links)
    if error.upstream is not None:
        yield _upstream(error.upstream)
    if error.failure is not None:
        yield error.failure


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
