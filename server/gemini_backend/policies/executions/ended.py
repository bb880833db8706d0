"""What is remembered of an execution that has ended: values, and messages as bytes.

It is written once for each execution, so it is made of what is there already; the message that a
caller sees is made when somebody asks for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1.content_pb2 import Candidate
from gemini.backend.v1.error_details_pb2 import ExecutionFailure
from gemini_backend.durations import timestamp_of
from gemini_backend.errors import Cancelled
from gemini_backend.policies.executions.progress import facts_of, put_progress
from gemini_backend.policies.outcome import end_in

if TYPE_CHECKING:
    from google.rpc.status_pb2 import Status

    from gemini_backend.errors import ServiceError
    from gemini_backend.policies.executions.progress import Facts
    from gemini_backend.policies.executions.underway import Underway

# What it costs to remember an execution, beside its bytes.
OVERHEAD_BYTES = 700
_SUCCEEDED = pb.ExecutionState.EXECUTION_STATE_SUCCEEDED
_FAILED = pb.ExecutionState.EXECUTION_STATE_FAILED
_CANCELLED = pb.ExecutionState.EXECUTION_STATE_CANCELLED
_NO_CANDIDATE = Candidate()


class Failed(NamedTuple):
    """Why an execution has failed or was cancelled, and the whole status of that."""

    error: ServiceError
    status: Status


class Ended(Struct, frozen=True, gc=False):
    """An execution that has ended.

    Attributes:
        facts: Who asked for what, and by which model it was answered.
        state: As `ExecutionState`.
        ended: When it ended, on `Clock.now()`.
        refused: Whether it failed before the model was asked.
        usage: Serialised `Usage`; None where it is not known.
        cost: Serialised `Cost`; None where it is not known.
        end: Type of the message that its caller was given at its end.
        told: Times and attempts, as bytes of such a message; empty where `rest` has them.
        finish_reason: Why the model stopped, as `FinishReason`.
        finish_reason_raw: Its name, where the number says nothing.
        rest: The remaining fields, as a serialised `Execution`.
        bytes: What it costs to remember it.
    """

    facts: Facts
    state: int
    ended: float
    refused: bool
    usage: bytes | None
    cost: bytes | None
    end: type[pb.Completed | pb.ProcessResponse]
    told: bytes
    finish_reason: int
    finish_reason_raw: str
    rest: bytes
    bytes: int

    @property
    def name(self) -> str:
        """Its name, `executions/{execution}`."""
        return self.facts.name

    def message(self) -> pb.Execution:
        """Return it as a caller sees it."""
        made = self.facts.message()
        made.MergeFromString(self.rest)
        made.state = self.state  # type: ignore[assignment] # by number
        if self.finish_reason or self.finish_reason_raw:
            made.finish_reason = self.finish_reason  # type: ignore[assignment] # by number
            made.finish_reason_raw = self.finish_reason_raw
        if self.told:
            told = self.end.FromString(self.told)
            made.timing.CopyFrom(told.timing)
            made.attempts.extend(told.attempts)
        if self.usage is not None:
            made.usage.MergeFromString(self.usage)
        if self.cost is not None:
            made.cost.MergeFromString(self.cost)
        made.end_time.CopyFrom(timestamp_of(self.facts.at(self.ended)))
        for detail in made.error.details:
            if detail.Is(ExecutionFailure.DESCRIPTOR):
                detail.Unpack(made.failure)
        return made


def succeeded(one: Underway, end: pb.Completed | pb.ProcessResponse, now: float) -> Ended:
    """Return an execution that has come to its end, at `now`, with what its caller was told."""
    last: pb.Completed | Candidate
    if type(end) is pb.Completed:
        last = end
    else:
        candidates = end.candidates
        last = candidates[0] if candidates else _NO_CANDIDATE
    usage = end.usage.SerializeToString()
    cost = end.cost.SerializeToString() if end.HasField("cost") else None
    told = one.call.outcome.told or end_in(end)
    return Ended(
        facts_of(one),
        _SUCCEEDED,
        now,
        False,  # noqa: FBT003 - by place, as the others: this is done for each execution
        usage,
        cost,
        type(end),
        told,
        last.finish_reason,
        last.finish_reason_raw,
        b"",
        OVERHEAD_BYTES + len(usage) + len(cost or b"") + len(told),
    )


def ended_early(one: Underway, failed: Failed | None, now: float) -> Ended:
    """Return an execution that has failed or was cancelled, at `now`; or a batch, without."""
    state = _SUCCEEDED
    rest, outcome = pb.Execution(), one.call.outcome
    put_progress(rest, one, outcome, now)
    if outcome.spent is not None:
        rest.cost.CopyFrom(outcome.spent)
    if failed is not None:
        stopped = isinstance(failed.error, Cancelled)
        state = _CANCELLED if stopped else _FAILED
        _put_failure(rest, failed)
    usage = rest.usage.SerializeToString() if rest.HasField("usage") else None
    cost = rest.cost.SerializeToString() if rest.HasField("cost") else None
    rest.ClearField("usage")
    rest.ClearField("cost")
    data = rest.SerializeToString()
    return Ended(
        facts_of(one),
        state,
        now,
        refused=failed is not None and usage is None and not outcome.attempts,
        usage=usage,
        cost=cost,
        end=pb.ProcessResponse,
        told=b"",
        finish_reason=rest.finish_reason,
        finish_reason_raw=rest.finish_reason_raw,
        rest=data,
        bytes=OVERHEAD_BYTES + len(data) + len(usage or b"") + len(cost or b""),
    )


def _put_failure(rest: pb.Execution, failed: Failed) -> None:
    """Take over the whole failure, and what it says of the answer so far."""
    rest.error.CopyFrom(failed.status)
    failure = failed.error.failure
    if failure is None:
        return
    rest.finish_reason, rest.finish_reason_raw = failure.finish_reason, failure.finish_reason_raw
    if failure.HasField("usage"):
        rest.usage.CopyFrom(failure.usage)
    if failure.HasField("cost"):
        rest.cost.CopyFrom(failure.cost)
