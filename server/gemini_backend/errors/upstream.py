"""Failures of the model API, or of the way to it."""

from __future__ import annotations

from gemini_backend.errors.base import Code, ServiceError


class UpstreamError(ServiceError):
    """The model API failed, or the way to it."""


class Unreachable(UpstreamError):
    """No connection came about."""

    code = Code.UNAVAILABLE
    reason = "UPSTREAM_UNREACHABLE"
    retryable = True


class UpstreamUnavailable(UpstreamError):
    """The model API says that it is overloaded or down."""

    code = Code.UNAVAILABLE
    reason = "UPSTREAM_UNAVAILABLE"
    retryable = True


class OutOfQuota(UpstreamError):
    """A quota of the key's project is spent.

    `concerns_model` is False where it is spent for this request alone, such as the quota of a tool
    that it uses: then other calls of the model need not wait.
    """

    concerns_model: bool = True


class Throttled(OutOfQuota):
    """A quota by the minute is spent; `retry_after` says for how long."""

    code = Code.RESOURCE_EXHAUSTED
    reason = "UPSTREAM_THROTTLED"
    retryable = True


class DailyQuotaExhausted(OutOfQuota):
    """A quota by the day is spent, or there is none at all.

    `retry_after` counts to midnight Pacific time; it is None where the project has no quota.
    """

    code = Code.RESOURCE_EXHAUSTED
    reason = "UPSTREAM_QUOTA_EXHAUSTED"


class KeyRefused(UpstreamError):
    """The model API does not take this server's key."""

    code = Code.FAILED_PRECONDITION
    reason = "UPSTREAM_KEY_REFUSED"


class ProjectRefused(UpstreamError):
    """The key's project may not do this: region, billing, API not enabled, permission."""

    code = Code.FAILED_PRECONDITION
    reason = "UPSTREAM_PROJECT_REFUSED"


class AccountLimited(UpstreamError):
    """The provider limits the account that the key belongs to; other keys may be of another."""

    code = Code.FAILED_PRECONDITION
    reason = "UPSTREAM_ACCOUNT_LIMITED"


class ConnectTimeout(UpstreamError):
    """No connection in time."""

    code = Code.DEADLINE_EXCEEDED
    reason = "UPSTREAM_CONNECT_TIMEOUT"
    retryable = True


class FirstTokenTimeout(UpstreamError):
    """No first piece of the answer in time."""

    code = Code.DEADLINE_EXCEEDED
    reason = "UPSTREAM_FIRST_TOKEN_TIMEOUT"
    retryable = True


class IdleTimeout(UpstreamError):
    """Too long a silence between two pieces."""

    code = Code.DEADLINE_EXCEEDED
    reason = "UPSTREAM_IDLE_TIMEOUT"
    retryable = True


class DeadlinePassed(UpstreamError):
    """The call's deadline passed while the model was at work."""

    code = Code.DEADLINE_EXCEEDED
    reason = "UPSTREAM_DEADLINE_EXCEEDED"


class StreamCut(UpstreamError):
    """The answer ended before the model had finished."""

    code = Code.UNAVAILABLE
    reason = "UPSTREAM_STREAM_CUT"
    retryable = True


class MalformedAnswer(UpstreamError):
    """What came back cannot be read."""

    code = Code.INTERNAL
    reason = "UPSTREAM_MALFORMED_ANSWER"
    retryable = True


class AnswerTooLarge(UpstreamError):
    """One event or body was larger than its bound."""

    code = Code.RESOURCE_EXHAUSTED
    reason = "UPSTREAM_ANSWER_TOO_LARGE"


class PromptBlocked(UpstreamError):
    """The model API blocked the prompt."""

    code = Code.FAILED_PRECONDITION
    reason = "UPSTREAM_PROMPT_BLOCKED"


class AnswerBlocked(UpstreamError):
    """The model stopped without usable content; the finish reason says why."""

    code = Code.FAILED_PRECONDITION
    reason = "UPSTREAM_ANSWER_BLOCKED"


class EmptyAnswer(UpstreamError):
    """The answer holds nothing at all."""

    code = Code.UNAVAILABLE
    reason = "UPSTREAM_EMPTY_ANSWER"
    retryable = True


class UpstreamCancelled(UpstreamError):
    """The model API cancelled the call by itself."""

    code = Code.CANCELLED
    reason = "UPSTREAM_CANCELLED"
    retryable = True


class UpstreamTimedOut(UpstreamError):
    """The model API gave up."""

    code = Code.DEADLINE_EXCEEDED
    reason = "UPSTREAM_TIMED_OUT"
    retryable = True
