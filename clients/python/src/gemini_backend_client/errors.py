"""What a call can fail with: one tree, by what the caller can do about it.

    GeminiBackendError
    ├── InvalidRequestError        change the request; `violations` names each field
    │   ├── ContextTooLongError    more tokens than the model takes
    │   └── MessageTooLargeError   more bytes than the server, or this client, takes
    ├── NotFoundError              no such session, file, batch or execution
    │   └── UnknownModelError      no such model
    ├── UnauthenticatedError       give credentials that the server knows
    ├── ForbiddenError             ask an operator for the right
    ├── ConflictError              read again: it had changed meanwhile, or exists already
    ├── PreconditionError          not in this state: nothing cached, a restart is needed
    ├── BlockedError               the prompt or the answer was blocked; `failure` says why
    ├── RateLimitedError           wait `retry_after` seconds
    │   └── QuotaExhaustedError    waiting is no help: quota of the day, budget, session full
    ├── UnavailableError           try again later, or elsewhere: nobody there, down, draining
    ├── DeadlineExceededError      too slow: allow more time, or ask for less
    ├── UpstreamError              the model API failed, or refused this server
    ├── CancelledError             the call was cancelled
    └── ServerError                a defect of the server, or of what stands between
        └── UnimplementedError     this server cannot do it (yet)

Every one of them carries the same attributes; see `GeminiBackendError`. Arguments that could never
make a request raise `TypeError` or `ValueError` before anything is sent.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

    import grpc
    from google.rpc.error_details_pb2 import BadRequest, Help, QuotaFailure

    from gemini.backend.v1.content_pb2 import Usage
    from gemini.backend.v1.error_details_pb2 import ExecutionFailure, UpstreamFailure

__all__ = [
    "BlockedError",
    "CancelledError",
    "ConflictError",
    "ContextTooLongError",
    "DeadlineExceededError",
    "ErrorDetails",
    "ForbiddenError",
    "GeminiBackendError",
    "InvalidRequestError",
    "MessageTooLargeError",
    "NotFoundError",
    "PreconditionError",
    "QuotaExhaustedError",
    "RateLimitedError",
    "ServerError",
    "UnauthenticatedError",
    "UnavailableError",
    "UnimplementedError",
    "UnknownModelError",
    "UpstreamError",
]


@dataclass(frozen=True, slots=True)
class ErrorDetails:
    """What a status carried beside its code and message.

    Attributes:
        reason: name of an `ErrorReason` without its prefix, e.g. "CALLER_UNKNOWN_MODEL"; empty
            when the status did not come from Gemini Backend itself.
        violations: each field that broke a rule.
        retry_after: seconds to wait before trying again; None when the server named none.
        quota_violations: each quota that was exceeded.
        help_links: where to read on.
        upstream: what the model API answered.
        failure: how far the execution came.
        metadata: further facts, by name.
        execution_id: the execution's name, `executions/{execution}`, as in the server's log; empty
            when there was none.
        last_sequence: the last event that this client received; 0 for none.
        usage: the tokens used so far, as last reported.
    """

    reason: str = ""
    violations: tuple[BadRequest.FieldViolation, ...] = ()
    retry_after: float | None = None
    quota_violations: tuple[QuotaFailure.Violation, ...] = ()
    help_links: tuple[Help.Link, ...] = ()
    upstream: UpstreamFailure | None = None
    failure: ExecutionFailure | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    execution_id: str = ""
    last_sequence: int = 0
    usage: Usage | None = None


class GeminiBackendError(Exception):
    """A call failed. `str()` of it is one sentence that names the fix.

    Attributes:
        message: the server's sentence.
        code: the gRPC status code.
        details: everything else that the status carried; each field of `ErrorDetails` is an
            attribute of the error as well.
    """

    def __init__(self, message: str, code: grpc.StatusCode, details: ErrorDetails) -> None:
        """Build the error from a decoded status."""
        super().__init__(message, code, details)
        self.message = message
        self.code = code
        self.details = details
        self.reason = details.reason
        self.violations = details.violations
        self.retry_after = details.retry_after
        self.quota_violations = details.quota_violations
        self.help_links = details.help_links
        self.upstream = details.upstream
        self.failure = details.failure
        self.metadata = details.metadata
        self.execution_id = details.execution_id
        self.last_sequence = details.last_sequence
        self.usage = details.usage

    def __str__(self) -> str:
        """Return the message."""
        return self.message

    def __repr__(self) -> str:
        """Show the kind, the code and the reason."""
        reason = self.reason or "no reason"
        return f"{type(self).__name__}({self.message!r}, {self.code.name}, {reason})"

    def after(self, execution_id: str, last_sequence: int, usage: Usage | None) -> Self:
        """Return the same error, told how much of the stream had arrived here."""
        details = replace(
            self.details,
            execution_id=execution_id or self.execution_id,
            last_sequence=last_sequence or self.last_sequence,
            usage=self.usage or usage,
        )
        return type(self)(self.message, self.code, details)


class InvalidRequestError(GeminiBackendError):
    """The request breaks a rule, here or at the model API."""


class ContextTooLongError(InvalidRequestError):
    """The conversation has more tokens than the model takes."""


class MessageTooLargeError(InvalidRequestError):
    """A message has more bytes than one of the two ends takes."""


class NotFoundError(GeminiBackendError):
    """There is no such resource."""


class UnknownModelError(NotFoundError):
    """There is no such model."""


class UnauthenticatedError(GeminiBackendError):
    """The call had no credentials, or none that are known."""


class ForbiddenError(GeminiBackendError):
    """The caller may not do this."""


class ConflictError(GeminiBackendError):
    """What was to be changed had changed since it was read, or is there already."""


class PreconditionError(GeminiBackendError):
    """The server is not in a state in which this can be done."""


class BlockedError(GeminiBackendError):
    """The prompt or the answer was blocked."""


class RateLimitedError(GeminiBackendError):
    """Too much in too short a time; `retry_after` says how long to wait."""


class QuotaExhaustedError(RateLimitedError):
    """A quota by the day or a budget is spent, or a session is full."""


class UnavailableError(GeminiBackendError):
    """Nobody answered, or who answered cannot serve at present."""


class DeadlineExceededError(GeminiBackendError):
    """The answer was not whole in time."""


class UpstreamError(GeminiBackendError):
    """The model API failed, or refused this server."""


class CancelledError(GeminiBackendError):
    """The call was cancelled, by either end."""


class ServerError(GeminiBackendError):
    """A defect of the server, or of what stands between it and this client."""


class UnimplementedError(ServerError):
    """This server cannot do it."""
