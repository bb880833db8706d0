"""The attempts of an execution, as they are told to its caller."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini.backend.v1 import error_details_pb2 as details
from gemini_backend.durations import put_seconds

if TYPE_CHECKING:
    from google.protobuf.internal.containers import RepeatedCompositeFieldContainer

    from gemini_backend.call import AttemptRecord

    Told = RepeatedCompositeFieldContainer[details.Attempt]


def put_attempts(told: Told, attempts: list[AttemptRecord], now: float) -> None:
    """Add the attempts as they are told to the caller; one still running ends at `now`."""
    for number, attempt in enumerate(attempts, 1):
        one = told.add()  # keywords cost more than fields
        one.number, one.model, one.outcome = number, attempt.model, _outcome(attempt)
        put_seconds(one.duration, (attempt.ended or now) - attempt.started)
        if attempt.key_id:
            one.key_id = attempt.key_id
        if attempt.error is not None:
            one.reason = details.ErrorReason.Value(f"ERROR_REASON_{attempt.error.reason}")


def _outcome(attempt: AttemptRecord) -> details.AttemptOutcome.ValueType:
    if attempt.cancelled:
        return details.ATTEMPT_OUTCOME_CANCELLED
    if attempt.error is not None:
        return details.ATTEMPT_OUTCOME_FAILED
    return details.ATTEMPT_OUTCOME_SUCCEEDED
