"""What happens between an execution and the upstream: attempts, and what leads to another one.

`execution` is the name of the execution, `model` a full name, times are seconds, and a `reason` is
that of the failure (docs/errors.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from gemini_backend.telemetry.events.event import Event

if TYPE_CHECKING:
    from gemini_backend.call import AttemptRecord, Call, Work


class AttemptFinished(Event, frozen=True):
    """One attempt at the upstream has ended.

    `key_id` is empty for an upstream that takes no keys; `reason` unless it failed.
    """

    execution: str
    work: Work
    model: str
    key_id: str
    seconds: float
    outcome: Literal["succeeded", "failed", "cancelled"]
    reason: str = ""


def attempt_finished(call: Call, record: AttemptRecord) -> AttemptFinished:
    """Return the event of an attempt that has ended."""
    ended = record.started if record.ended is None else record.ended
    return AttemptFinished(
        call.execution,
        call.work,
        record.model,
        record.key_id,
        ended - record.started,
        "cancelled" if record.cancelled else "succeeded" if record.error is None else "failed",
        "" if record.error is None else record.error.reason,
    )


class DescriptorsRanOut(Event, frozen=True):
    """An attempt has failed since the process had no file descriptor left for it."""

    execution: str


class RetryScheduled(Event, frozen=True):
    """A try has failed, and another one follows after a delay; `tries` is how many there were."""

    execution: str
    model: str
    tries: int
    delay_seconds: float
    reason: str


class HedgeStarted(Event, frozen=True):
    """A second attempt has started beside one that is slow to begin."""

    execution: str
    model: str


class HedgeWon(Event, frozen=True):
    """The second attempt was the first to answer."""

    execution: str
    model: str


class FellBack(Event, frozen=True):
    """A model has failed, and another one is asked in its place."""

    execution: str
    model: str
    fallback_model: str
    reason: str


class AdmissionRefused(Event, frozen=True):
    """An attempt was refused a slot: why, and how the queue stands.

    `why` is queue_full, put_out, too_late or timed_out; `estimated_wait` is what a newcomer of the
    same priority would wait.
    """

    why: str
    priority: str
    running: int
    queued: int
    estimated_wait: float
    execution: str = ""
