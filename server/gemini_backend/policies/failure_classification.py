"""Whose fault a failure is, for those who try again and those who give up on a model."""

from __future__ import annotations

from gemini_backend.errors import ChaosFault, ServiceError, Throttled, UpstreamError


def another_try_helps(error: ServiceError) -> bool:
    """Say whether the same attempt may succeed when it is made again.

    What our own rules refused is not made again: they have waited as long as it made sense. A
    fault made on purpose stands for one of the upstream's.
    """
    if error.lasting:
        return False
    return error.retryable and isinstance(error, UpstreamError | ChaosFault)


def model_is_ill(error: ServiceError) -> bool:
    """Say whether a failure speaks against the model's health.

    A throttled call does not: it is answered by waiting, and quotas see to that. Nor does what the
    caller asked for, or a rule of ours.
    """
    return another_try_helps(error) and not isinstance(error, Throttled)
