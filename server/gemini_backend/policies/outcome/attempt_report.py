"""The attempts of an execution, as they are told to its caller."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini.backend.v1 import error_details_pb2 as details
from gemini_backend.durations import duration_of

if TYPE_CHECKING:
    from gemini_backend.call import AttemptRecord
    from gemini_backend.errors import ServiceError


def attempt_messages(attempts: list[AttemptRecord], now: float) -> list[details.Attempt]:
    """Return the attempts as they are told to the caller; one still running ends at `now`."""
    return [
        details.Attempt(
            number=number,
            model=attempt.model,
            outcome=_outcome(attempt),
            reason=_reason(attempt.error),
            duration=duration_of((attempt.ended or now) - attempt.started),
            key_id=attempt.key_id,
        )
        for number, attempt in enumerate(attempts, 1)
    ]


def _outcome(attempt: AttemptRecord) -> details.AttemptOutcome.ValueType:
    if attempt.cancelled:
        return details.ATTEMPT_OUTCOME_CANCELLED
    if attempt.error is not None:
        return details.ATTEMPT_OUTCOME_FAILED
    return details.ATTEMPT_OUTCOME_SUCCEEDED


def _reason(error: ServiceError | None) -> details.ErrorReason.ValueType:
    if error is None:
        return details.ERROR_REASON_UNSPECIFIED
    return details.ErrorReason.Value(f"ERROR_REASON_{error.reason}")
