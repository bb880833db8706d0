"""What the end of an answer tells of its way: its times and attempts, as bytes of its message.

They are written once: the answer takes them over, and whoever remembers them keeps the bytes. Most
answers have not waited in a queue and took one attempt at most, which was there at the first try;
the message for those is made before, and only what differs is written into it. A message made anew
costs several times as much.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini.backend.v1 import error_details_pb2 as details
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.durations import put_seconds
from gemini_backend.policies.outcome.attempt_report import put_attempts

if TYPE_CHECKING:
    from gemini_backend.call import AttemptRecord, Outcome

    Answer = pb.ProcessResponse | pb.Completed


def put_end(answer: Answer, outcome: Outcome, arrived: float, now: float) -> bytes:
    """Write times and attempts into a whole answer, or the last event of one.

    Args:
        answer: Times that it has are replaced; attempts, if it has times, are added to.
        outcome: What was learned of the execution.
        arrived: When it arrived, on `Clock.now()`.
        now: When it ends.

    Returns:
        What it then says of them, as bytes of a message of its type.
    """
    told = end_of(type(answer), outcome, arrived, now)
    if not answer.HasField("timing"):
        answer.MergeFromString(told)
        return told
    answer.ClearField("timing")
    answer.MergeFromString(told)
    return end_in(answer)


def end_in(answer: Answer) -> bytes:
    """Return the times and attempts of an answer as bytes of a message of its type."""
    return type(answer)(timing=answer.timing, attempts=answer.attempts).SerializeToString()


def end_of(kind: type[Answer], outcome: Outcome, arrived: float, now: float) -> bytes:
    """Return times and attempts as bytes of a message of a type."""
    attempts = outcome.attempts
    if not outcome.queued_seconds and len(attempts) <= 1:
        first = outcome.first_token
        attempt = attempts[0] if attempts else None
        if attempt is None or (attempt.error is None and not attempt.cancelled):
            form = _FORMS[kind, first is not None]
            return form.filled(arrived, first, attempt, now)
    return whole_end_of(kind, outcome, arrived, now)


def whole_end_of(kind: type[Answer], outcome: Outcome, arrived: float, now: float) -> bytes:
    """Return the same for any execution."""
    message = kind()
    timing = message.timing
    put_seconds(timing.queued, outcome.queued_seconds)
    if outcome.first_token is not None:
        put_seconds(timing.first_token, outcome.first_token - arrived)
    put_seconds(timing.total, now - arrived)
    put_attempts(message.attempts, outcome.attempts, now)
    return message.SerializeToString()


class _Form:
    """Times of an execution that has not queued, written over for each one.

    Numbers only: a text that is written over stays in a message's memory as long as the message.
    """

    __slots__ = ("_first", "_kind", "_message", "_total")

    def __init__(self, kind: type[Answer], *, first: bool) -> None:
        self._kind = kind
        self._message = kind()
        timing = self._message.timing
        timing.queued.SetInParent()
        self._total = timing.total
        self._first = timing.first_token if first else None

    def filled(
        self, arrived: float, first: float | None, attempt: AttemptRecord | None, now: float
    ) -> bytes:
        put_seconds(self._total, now - arrived)
        if first is not None and self._first is not None:
            put_seconds(self._first, first - arrived)
        times = self._message.SerializeToString()
        if attempt is None:
            return times
        made = self._kind()
        one = made.attempts.add(
            number=1,
            outcome=details.ATTEMPT_OUTCOME_SUCCEEDED,
            model=attempt.model,
            key_id=attempt.key_id,
        )
        put_seconds(one.duration, (attempt.ended or now) - attempt.started)
        return times + made.SerializeToString()


_FORMS = {
    (kind, first): _Form(kind, first=first)
    for kind in (pb.ProcessResponse, pb.Completed)
    for first in (True, False)
}
