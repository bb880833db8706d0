"""What happens to sessions and their store."""

from __future__ import annotations

from typing import Literal

from gemini_backend.telemetry.events.event import Event


class SessionTurnEnded(Event, frozen=True):
    """An execution that named a session has ended as far as the session goes.

    `outcome` is kept; repeated, where a stored answer was given again; refused, before the model
    was asked; abandoned, where the execution failed or its caller left; lost, where the answer was
    there and could not be stored.
    """

    execution: str
    tenant: str
    session: str
    outcome: Literal["kept", "repeated", "refused", "abandoned", "lost"]


class SessionChanged(Event, frozen=True):
    """A session was created, deleted or summarized.

    `session` is its name, "sessions/{id}".
    """

    tenant: str
    session: str
    change: Literal["created", "deleted", "summarized"]


class SessionsExpired(Event, frozen=True):
    """Sessions have expired and are deleted: how many."""

    count: int


class SessionsCounted(Event, frozen=True):
    """The store has counted its sessions, of all tenants."""

    count: int


class StoreVisited(Event, frozen=True):
    """A store has done an operation, or failed to; `seconds` is from asking to answer."""

    store: str
    operation: str
    seconds: float
    failed: bool
