"""Failures that the caller can mend: the request, or what it names, must change."""

from __future__ import annotations

from gemini_backend.errors.base import Code, ServiceError


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


class TooManyParts(CallerError):
    """The message has more parts, or other elements, than the server works on."""

    code = Code.INVALID_ARGUMENT
    reason = "CALLER_TOO_MANY_PARTS"


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


class Unauthenticated(CallerError):
    """Credentials are missing, unknown, expired or revoked."""

    code = Code.UNAUTHENTICATED
    reason = "CALLER_UNAUTHENTICATED"


class Forbidden(CallerError):
    """The caller is known and may not do this."""

    code = Code.PERMISSION_DENIED
    reason = "CALLER_FORBIDDEN"


class Cancelled(CallerError):
    """The caller stopped the execution, or left it."""

    code = Code.CANCELLED
    reason = "CALLER_CANCELLED"


class NeedsRestart(CallerError):
    """The setting cannot change while the server runs."""

    code = Code.FAILED_PRECONDITION
    reason = "CALLER_NEEDS_RESTART"
