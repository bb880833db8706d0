"""Failures by one of our own rules: limits, bounds, drills."""

from __future__ import annotations

from gemini_backend.errors.base import Code, ServiceError


class PolicyError(ServiceError):
    """One of our own rules refused the call; never counted against the upstream."""


class RateLimited(PolicyError):
    """The caller's own rate limit is spent; `retry_after` says for how long."""

    code = Code.RESOURCE_EXHAUSTED
    reason = "POLICY_RATE_LIMITED"
    retryable = True


class Overloaded(PolicyError):
    """The queue is full, or the wait in it would outlast the deadline."""

    code = Code.RESOURCE_EXHAUSTED
    reason = "POLICY_OVERLOADED"
    retryable = True


class CircuitOpen(PolicyError):
    """The model failed too often recently; `retry_after` says when it is tried again.

    `outage` is for how many seconds its circuit has let no call through, `awaited` whether it is
    young enough to be waited for. `spent` is set where no circuit but the budget of attempts
    refused.
    """

    code = Code.UNAVAILABLE
    reason = "POLICY_CIRCUIT_OPEN"
    retryable = True
    outage = 0.0
    awaited = False
    spent = False


class QuotaExhausted(PolicyError):
    """The upstream project's quota would be exceeded; `retry_after` says when it is not."""

    code = Code.RESOURCE_EXHAUSTED
    reason = "POLICY_QUOTA_EXHAUSTED"
    retryable = True


class NotCached(PolicyError):
    """Only a cached answer was asked for, and there is none."""

    code = Code.FAILED_PRECONDITION
    reason = "POLICY_NOT_CACHED"


class SessionFull(PolicyError):
    """A bound on sessions is reached: on their number, or on the turns or bytes of one."""

    code = Code.RESOURCE_EXHAUSTED
    reason = "POLICY_SESSION_FULL"


class ChaosFault(PolicyError):
    """A fault that an operator asked for, in a drill."""

    code = Code.UNAVAILABLE
    reason = "POLICY_CHAOS"
    retryable = True
