"""Failures of this server itself."""

from __future__ import annotations

from gemini_backend.errors.base import Code, ServiceError


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


class OutOfDescriptors(BackendError):
    """The process has no free file descriptor for a connection; calls that end give theirs back."""

    code = Code.UNAVAILABLE
    reason = "BACKEND_OUT_OF_DESCRIPTORS"
    retryable = True


class NoUpstreamKey(BackendError):
    """The server has no key for the model API."""

    code = Code.FAILED_PRECONDITION
    reason = "BACKEND_NO_UPSTREAM_KEY"
