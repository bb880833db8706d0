"""Every way in which a call can fail.

ServiceError                     code                  reason                        retry helps
├─ CallerError                   the caller must change something
│  ├─ InvalidRequest             INVALID_ARGUMENT      CALLER_INVALID_REQUEST        no
│  ├─ MalformedMessage           INVALID_ARGUMENT      CALLER_MALFORMED_MESSAGE      no
│  ├─ MessageTooLarge            RESOURCE_EXHAUSTED    CALLER_MESSAGE_TOO_LARGE      no
│  ├─ UnknownModel               NOT_FOUND             CALLER_UNKNOWN_MODEL          no
│  ├─ UnknownResource            NOT_FOUND             CALLER_UNKNOWN_RESOURCE       no
│  ├─ DeadlineTooShort           DEADLINE_EXCEEDED     CALLER_DEADLINE_TOO_SHORT     no
│  ├─ RefusedByModelApi          INVALID_ARGUMENT      CALLER_REFUSED_BY_MODEL_API   no
│  ├─ UnsupportedByModel         INVALID_ARGUMENT      CALLER_UNSUPPORTED_BY_MODEL   no
│  ├─ ContextTooLong             INVALID_ARGUMENT      CALLER_CONTEXT_TOO_LONG       no
│  ├─ Conflict                   ABORTED               CALLER_CONFLICT               no
│  ├─ AlreadyExists              ALREADY_EXISTS        CALLER_ALREADY_EXISTS         no
│  └─ NeedsRestart               FAILED_PRECONDITION   CALLER_NEEDS_RESTART          no
├─ PolicyError                   one of our own rules
│  ├─ RateLimited                RESOURCE_EXHAUSTED    POLICY_RATE_LIMITED           yes
│  ├─ Overloaded                 RESOURCE_EXHAUSTED    POLICY_OVERLOADED             yes
│  ├─ CircuitOpen                UNAVAILABLE           POLICY_CIRCUIT_OPEN           yes
│  ├─ QuotaExhausted             RESOURCE_EXHAUSTED    POLICY_QUOTA_EXHAUSTED        yes
│  ├─ NotCached                  FAILED_PRECONDITION   POLICY_NOT_CACHED             no
│  ├─ SessionFull                RESOURCE_EXHAUSTED    POLICY_SESSION_FULL           no
│  └─ ChaosFault                 UNAVAILABLE           POLICY_CHAOS                  yes
├─ UpstreamError                 the model API, or the way to it
│  ├─ Unreachable                UNAVAILABLE           UPSTREAM_UNREACHABLE          yes
│  ├─ UpstreamUnavailable        UNAVAILABLE           UPSTREAM_UNAVAILABLE          yes
│  ├─ Throttled                  RESOURCE_EXHAUSTED    UPSTREAM_THROTTLED            yes
│  ├─ DailyQuotaExhausted        RESOURCE_EXHAUSTED    UPSTREAM_QUOTA_EXHAUSTED      no
│  ├─ KeyRefused                 FAILED_PRECONDITION   UPSTREAM_KEY_REFUSED          no
│  ├─ ProjectRefused             FAILED_PRECONDITION   UPSTREAM_PROJECT_REFUSED      no
│  ├─ AccountLimited             FAILED_PRECONDITION   UPSTREAM_ACCOUNT_LIMITED      no
│  ├─ ConnectTimeout             DEADLINE_EXCEEDED     UPSTREAM_CONNECT_TIMEOUT      yes
│  ├─ FirstTokenTimeout          DEADLINE_EXCEEDED     UPSTREAM_FIRST_TOKEN_TIMEOUT  yes
│  ├─ IdleTimeout                DEADLINE_EXCEEDED     UPSTREAM_IDLE_TIMEOUT         yes
│  ├─ DeadlinePassed             DEADLINE_EXCEEDED     UPSTREAM_DEADLINE_EXCEEDED    no
│  ├─ StreamCut                  UNAVAILABLE           UPSTREAM_STREAM_CUT           yes
│  ├─ MalformedAnswer            INTERNAL              UPSTREAM_MALFORMED_ANSWER     yes
│  ├─ AnswerTooLarge             RESOURCE_EXHAUSTED    UPSTREAM_ANSWER_TOO_LARGE     no
│  ├─ PromptBlocked              FAILED_PRECONDITION   UPSTREAM_PROMPT_BLOCKED       no
│  ├─ AnswerBlocked              FAILED_PRECONDITION   UPSTREAM_ANSWER_BLOCKED       no
│  ├─ EmptyAnswer                UNAVAILABLE           UPSTREAM_EMPTY_ANSWER         yes
│  ├─ UpstreamCancelled          CANCELLED             UPSTREAM_CANCELLED            yes
│  └─ UpstreamTimedOut           DEADLINE_EXCEEDED     UPSTREAM_TIMED_OUT            yes
└─ BackendError                  this server
   ├─ Unexpected                 INTERNAL              BACKEND_UNEXPECTED            no
   ├─ NotImplementedYet          UNIMPLEMENTED         BACKEND_NOT_IMPLEMENTED       no
   ├─ Draining                   UNAVAILABLE           BACKEND_DRAINING              yes
   ├─ StoreUnavailable           UNAVAILABLE           BACKEND_STORE_UNAVAILABLE     yes
   └─ NoUpstreamKey              FAILED_PRECONDITION   BACKEND_NO_UPSTREAM_KEY       no

The message of each says what to do about it. Messages never hold a key, a prompt or an answer.
A leaf's reason is a value of `gemini.backend.v1.ErrorReason`, whose comments say the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any, ClassVar, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gemini.backend.v1.error_details_pb2 import ExecutionFailure


class Code(IntEnum):
    """The gRPC status codes that are used here, by gRPC's own numbers."""

    CANCELLED = 1
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16


@dataclass(frozen=True, slots=True)
class Violation:
    """One field that breaks one rule: its path, what is wrong, and the rule's id."""

    field: str
    description: str
    rule: str = ""


@dataclass(frozen=True, slots=True)
class QuotaViolation:
    """One quota that is spent: whose it is, and which."""

    subject: str
    description: str


@dataclass(frozen=True, slots=True)
class UpstreamReply:
    """What the model API answered when it refused, as it came.

    `http_status` is 0 when no answer came at all; `extra` has the fields of the error object
    that have no place of their own here.
    """

    http_status: int
    code: int | None = None
    status: str = ""
    message: str = ""
    details: tuple[Mapping[str, Any], ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)


class ServiceError(Exception):
    """A failure with a gRPC code and a reason from the closed set.

    `final` is set where retries have been made already: the caller is not to add its own. `lasting`
    is set where the same attempt would fail in the same way each time, whatever the class says of
    retries: it is not tried again, and says nothing of the model's health.
    """

    code: ClassVar[Code]
    reason: ClassVar[str]
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        retry_after: float | None = None,
        violations: Sequence[Violation] = (),
        quota: Sequence[QuotaViolation] = (),
        links: Sequence[tuple[str, str]] = (),
        upstream: UpstreamReply | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Make the failure.

        Args:
            message: What is wrong and what to do about it; shown to the caller.
            retry_after: Seconds after which a retry may help.
            violations: Every field that breaks a rule.
            quota: Every quota that is spent.
            links: Pairs of description and address, for `google.rpc.Help`.
            upstream: What the model API answered, when it did.
            metadata: Further facts for `google.rpc.ErrorInfo.metadata`.
        """
        super().__init__(message)
        self.message = message
        self.retry_after = retry_after
        self.violations = tuple(violations)
        self.quota = tuple(quota)
        self.links = tuple(links)
        self.upstream = upstream
        self.metadata = dict(metadata or {})
        self.failure: ExecutionFailure | None = None
        self.final = False
        self.lasting = False

    def as_lasting(self, *, when: bool = True) -> Self:
        """Set `lasting` where `when` holds; return the error."""
        self.lasting = when
        return self


class CallerError(ServiceError):
    """The caller must change something."""


class InvalidRequest(CallerError):
    """Fields break rules; `violations` names every one."""

    code = Code.INVALID_ARGUMENT
    reason = "CALLER_INVALID_REQUEST"


class MalformedMessage(CallerError):
    """The bytes are no message of the contract."""

    code = Code.INVALID_ARGUMENT
    reason = "CALLER_MALFORMED_MESSAGE"


class MessageTooLarge(CallerError):
    """The message is larger than the server takes."""

    code = Code.RESOURCE_EXHAUSTED
    reason = "CALLER_MESSAGE_TOO_LARGE"


class UnknownModel(CallerError):
    """There is no model of that name."""

    code = Code.NOT_FOUND
    reason = "CALLER_UNKNOWN_MODEL"


class UnsupportedByModel(CallerError):
    """The model cannot do what the request asks for."""

    code = Code.INVALID_ARGUMENT
    reason = "CALLER_UNSUPPORTED_BY_MODEL"


class UnknownResource(CallerError):
    """There is no such thing, other than a model."""

    code = Code.NOT_FOUND
    reason = "CALLER_UNKNOWN_RESOURCE"


class DeadlineTooShort(CallerError):
    """The deadline was past, or too near, when the call arrived."""

    code = Code.DEADLINE_EXCEEDED
    reason = "CALLER_DEADLINE_TOO_SHORT"


class RefusedByModelApi(CallerError):
    """The model API refused the request for what it says."""

    code = Code.INVALID_ARGUMENT
    reason = "CALLER_REFUSED_BY_MODEL_API"


class ContextTooLong(CallerError):
    """More tokens than the model takes; the message has the numbers. Another may take them."""

    code = Code.INVALID_ARGUMENT
    reason = "CALLER_CONTEXT_TOO_LONG"


class Conflict(CallerError):
    """What was to be changed has changed since it was read."""

    code = Code.ABORTED
    reason = "CALLER_CONFLICT"


class AlreadyExists(CallerError):
    """There is something of that name already."""

    code = Code.ALREADY_EXISTS
    reason = "CALLER_ALREADY_EXISTS"


class NeedsRestart(CallerError):
    """The setting cannot change while the server runs."""

    code = Code.FAILED_PRECONDITION
    reason = "CALLER_NEEDS_RESTART"


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
    """The model failed too often of late; `retry_after` says when it is tried again."""

    code = Code.UNAVAILABLE
    reason = "POLICY_CIRCUIT_OPEN"
    retryable = True


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


class Throttled(UpstreamError):
    """A quota by the minute is spent; `retry_after` says for how long."""

    code = Code.RESOURCE_EXHAUSTED
    reason = "UPSTREAM_THROTTLED"
    retryable = True


class DailyQuotaExhausted(UpstreamError):
    """A quota by the day is spent; `retry_after` counts to midnight Pacific time."""

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


class BackendError(ServiceError):
    """The fault is this server's."""


class Unexpected(BackendError):
    """A defect; the message has an id under which the log has the traceback."""

    code = Code.INTERNAL
    reason = "BACKEND_UNEXPECTED"


class NotImplementedYet(BackendError):
    """The contract has it, this version does not."""

    code = Code.UNIMPLEMENTED
    reason = "BACKEND_NOT_IMPLEMENTED"


class Draining(BackendError):
    """The server is stopping."""

    code = Code.UNAVAILABLE
    reason = "BACKEND_DRAINING"
    retryable = True


class StoreUnavailable(BackendError):
    """A store of the server's cannot be used; the message says what an operator is to mend."""

    code = Code.UNAVAILABLE
    reason = "BACKEND_STORE_UNAVAILABLE"
    retryable = True


class NoUpstreamKey(BackendError):
    """The server has no key for the model API."""

    code = Code.FAILED_PRECONDITION
    reason = "BACKEND_NO_UPSTREAM_KEY"
