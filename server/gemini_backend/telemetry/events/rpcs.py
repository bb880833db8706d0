"""An RPC from its start to its end, whichever door it came by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_backend.telemetry.events.event import Event

if TYPE_CHECKING:
    from gemini.backend.v1.content_pb2 import Usage


class RpcStarted(Event, frozen=True):
    """An RPC has arrived; `execution` is the name of what it begins."""

    execution: str
    method: str


class RpcFinished(Event, frozen=True):
    """An RPC has ended.

    Attributes:
        execution: The name that it was given.
        method: Its path.
        tenant: Who asked.
        principal: Who of the tenant asked.
        code: Name of the status code that the caller received.
        reason: Why it failed; empty for a success.
        seconds: From its arrival to its end.
        model: Full name of the model that was asked for; empty where there was none.
        served_model: The version that served; empty where none did.
        first_token_seconds: From its arrival to the first delta; None where there was none.
        usage: The tokens that it used, as far as known.
        attempts: How many attempts at the upstream it took.
        request_id: The caller's own id of the request; empty for none.
    """

    execution: str
    method: str
    tenant: str
    principal: str
    code: str
    reason: str
    seconds: float
    model: str = ""
    served_model: str = ""
    first_token_seconds: float | None = None
    usage: Usage | None = None
    attempts: int = 0
    request_id: str = ""
