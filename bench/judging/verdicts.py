"""Says whether an execution was right: the exact answer, or a failure that tells the truth."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

import grpc
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from gemini.backend.v1 import error_details_pb2 as details

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gemini.backend.v1 import execute_service_pb2 as pb

DOMAIN = "gemini.backend"


class Verdict(Enum):
    """What became of an execution; the last three must never be."""

    RIGHT = "completed with exactly the expected text"
    REFUSED = "failed, typed, before its first piece"
    BROKEN_OFF = "failed, typed, after a true beginning of the text, and says how far it came"
    OUT_OF_TIME = "the caller's own deadline passed before the server said anything"
    WRONG_TEXT = "text that is not the expected one, or not a beginning of it"
    WRONG_COUNT = "events numbered or counted wrongly, none at the end, or some after it"
    UNTYPED = "failed without a reason from the contract"


WRONG = frozenset({Verdict.WRONG_TEXT, Verdict.WRONG_COUNT, Verdict.UNTYPED})


@dataclass(frozen=True)
class Judgement:
    """A verdict and what it rests on.

    Attributes:
        why: in words, for whoever has to find out.
        reason: of a failure, e.g. UPSTREAM_STREAM_CUT.
        out_of_budget: whether the failure might have been cured by a retry that was not allowed.
    """

    verdict: Verdict
    why: str = ""
    reason: str = ""
    out_of_budget: bool = False

    @property
    def wrong(self) -> bool:
        """Whether it must never be."""
        return self.verdict in WRONG


def text_of(events: Sequence[pb.ExecuteResponse]) -> str:
    """Returns the text of all deltas, thoughts aside."""
    return "".join(part.text for event in events for part in event.delta.parts if not part.thought)


def judge(
    events: Sequence[pb.ExecuteResponse], failed: grpc.RpcError | None, expected: str
) -> Judgement:
    """Judges an execution by all that its caller received.

    Args:
        events: from the first one on, over as many connections as it took.
        failed: what the stream ended with; None where it ended well.
        expected: the text that the model was bound to give.
    """
    begun = judge_beginning(events, expected)
    if begun.wrong:
        return begun
    text = text_of(events)
    kinds = [event.WhichOneof("event") for event in events]
    if failed is not None:
        return _of_failure(failed, kinds)
    if kinds.count("completed") != 1 or kinds[-1] != "completed":
        return Judgement(Verdict.WRONG_COUNT, f"ended well with {kinds}")
    if text != expected:
        return Judgement(Verdict.WRONG_TEXT, f"completed with {text!r} in place of {expected!r}")
    return Judgement(Verdict.RIGHT)


def judge_beginning(events: Sequence[pb.ExecuteResponse], expected: str) -> Judgement:
    """Judges what a caller had received when it left."""
    text = text_of(events)
    numbers = [event.sequence for event in events]
    if numbers != list(range(1, len(events) + 1)):
        return Judgement(Verdict.WRONG_COUNT, f"sequences {numbers}")
    if not expected.startswith(text):
        return Judgement(Verdict.WRONG_TEXT, f"{text!r} is no beginning of {expected!r}")
    return Judgement(Verdict.RIGHT)


def judge_whole(
    answer: pb.ProcessResponse | None, failed: grpc.RpcError | None, expected: str
) -> Judgement:
    """Judges an execution that was asked for as a whole."""
    if failed is not None:
        return _of_failure(failed, [])
    parts = answer.candidates[0].content.parts if answer is not None else ()
    text = "".join(part.text for part in parts if not part.thought)
    if text != expected:
        return Judgement(Verdict.WRONG_TEXT, f"answered {text!r} in place of {expected!r}")
    return Judgement(Verdict.RIGHT)


def _of_failure(failed: grpc.RpcError, kinds: list[str]) -> Judgement:
    said: Any = failed
    trailers = dict(said.trailing_metadata() or ())
    status = Status.FromString(trailers.get("grpc-status-details-bin", b""))
    if said.code() is grpc.StatusCode.DEADLINE_EXCEEDED and not status.details:
        return Judgement(Verdict.OUT_OF_TIME, said.details())
    info, told = ErrorInfo(), details.ExecutionFailure()
    typed = any(detail.Unpack(info) for detail in status.details) and info.domain == DOMAIN
    if not typed or f"ERROR_REASON_{info.reason}" not in details.ErrorReason.keys():  # noqa: SIM118 - no dict
        return Judgement(Verdict.UNTYPED, f"{said.code()}: {said.details()}")
    if not any(detail.Unpack(told) for detail in status.details):
        return Judgement(Verdict.UNTYPED, f"{info.reason} does not say how far it came")
    seen, deltas = len(kinds), kinds.count("delta")
    if (told.last_sequence, told.deltas_delivered) != (seen, deltas):
        why = f"tells {told.last_sequence} events, {told.deltas_delivered} deltas; {kinds} came"
        return Judgement(Verdict.WRONG_COUNT, why, info.reason)
    verdict = Verdict.BROKEN_OFF if deltas else Verdict.REFUSED
    spent = info.metadata.get("retry_budget") == "spent"
    return Judgement(verdict, said.details(), info.reason, spent)
