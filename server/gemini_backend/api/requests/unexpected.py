"""An exception that is not a `ServiceError` is a defect of this server.

The caller gets an opaque id; the log gets the stack under that id, without the values of variables.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from gemini_backend.errors import ServiceError, Unexpected
from gemini_backend.telemetry.logs.unhandled import facts_of

if TYPE_CHECKING:
    from gemini_backend.call import Call

_log = logging.getLogger(__name__)


def service_error_of(call: Call, error: Exception) -> ServiceError:
    """Return the error itself, or what stands for a defect, which goes into the log."""
    return error if isinstance(error, ServiceError) else _unexpected(call, error)


def _unexpected(call: Call, error: Exception) -> Unexpected:
    told = {"execution": call.execution, "method": call.method, **facts_of(error)}
    _log.error("unexpected failure", extra=told)
    return Unexpected(
        f"a defect in the server, not in the request; search the server's log for {call.execution}"
    )
