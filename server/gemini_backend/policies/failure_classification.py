"""Whose fault a failure is, for those who try again and those who give up on a model."""

from __future__ import annotations

from typing import Any

from gemini_backend.errors import (
    ChaosFault,
    EmptyAnswer,
    FirstTokenTimeout,
    IdleTimeout,
    MalformedAnswer,
    ServiceError,
    Throttled,
    UpstreamCancelled,
    UpstreamError,
    UpstreamTimedOut,
    UpstreamUnavailable,
)

_INTERNAL = 500  # with which Gemini also answers a prompt that is too much for it


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


def may_be_the_callers(error: ServiceError) -> bool:
    """Say whether a failure of the model may be due to what this caller asks of it.

    A prompt may have an empty answer or one that cannot be read each time, and a model API gives
    up, or fails within, where a prompt is too large or a deadline too short. Such failures speak
    against the model only where other callers have them as well.
    """
    if isinstance(error, EmptyAnswer | MalformedAnswer | UpstreamTimedOut | UpstreamCancelled):
        return True
    if not isinstance(error, UpstreamUnavailable) or error.upstream is None:
        return False
    return _INTERNAL in {error.upstream.http_status, error.upstream.code}


def is_impatient(request: Any, error: ServiceError) -> bool:
    """Say whether it was the request's own timeout, which says nothing of the model."""
    if isinstance(error, FirstTokenTimeout):
        return _sets(request, "first_token_timeout")
    return isinstance(error, IdleTimeout) and _sets(request, "idle_timeout")


def _sets(request: Any, field: str) -> bool:
    descriptor = getattr(request, "DESCRIPTOR", None)  # batches of embeddings are no messages
    return descriptor is not None and field in descriptor.fields_by_name and request.HasField(field)
