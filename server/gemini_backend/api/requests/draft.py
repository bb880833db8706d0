"""A status before it is packed: its details can still be changed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.status_pb2 import Status

from gemini.backend.v1.content_pb2 import Usage
from gemini.backend.v1.error_details_pb2 import ExecutionFailure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from google.protobuf.message import Message

M = TypeVar("M", bound="Message")


@dataclass(slots=True)
class Draft:
    """A status before it is packed.

    Attributes:
        code: The gRPC status code.
        message: The status message.
        details: The details, `ErrorInfo` first.
        left_out: How many entries of a list, by its name, are in none of the details.
    """

    code: int
    message: str
    details: Sequence[Message]
    left_out: Mapping[str, int] = field(default_factory=dict)

    def status(self) -> Status:
        """Return the status."""
        status = Status(code=self.code, message=self.message)
        for detail in self.details:
            packed = AnyMessage()
            packed.Pack(detail)
            status.details.append(packed)
        return status

    def of(self, kind: type[M]) -> M | None:
        """Return the detail of this kind; None without one."""
        return next((one for one in self.details if isinstance(one, kind)), None)

    def copy(self) -> Draft:
        """Return a draft whose details can be changed without this one."""
        return Draft(self.code, self.message, [_copy(one) for one in self.details], self.left_out)


def _copy(message: M) -> M:
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


def progress_of(failure: ExecutionFailure) -> ExecutionFailure:
    """Return what a failure says at the least: how far, why, and what it has used."""
    bare = ExecutionFailure(
        execution=failure.execution,
        last_sequence=failure.last_sequence,
        deltas_delivered=failure.deltas_delivered,
        finish_reason=failure.finish_reason,
        finish_reason_raw=failure.finish_reason_raw,
    )
    if failure.HasField("prompt_feedback"):
        bare.prompt_feedback.block_reason = failure.prompt_feedback.block_reason
        bare.prompt_feedback.block_reason_raw = failure.prompt_feedback.block_reason_raw
    if failure.HasField("usage"):
        bare.usage.CopyFrom(counts_of(failure.usage))
    if failure.HasField("cost"):
        bare.cost.CopyFrom(failure.cost)
    return bare


def counts_of(usage: Usage) -> Usage:
    """Return the numbers of a usage."""
    numbers: dict[str, Any] = {
        field.name: value for field, value in usage.ListFields() if isinstance(value, int)
    }
    return Usage(**numbers)
