"""Changes on the way to the upstream that concern no single execution."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_backend.telemetry.events.event import Event

if TYPE_CHECKING:
    from gemini_backend.telemetry.component_status import CircuitStatus, KeyState, KeyStatus


class CircuitChanged(Event, frozen=True):
    """A circuit breaker has opened, half-opened or closed: `circuit` as it is now.

    `probe_seconds` is the time until the next probe; None unless it is open. `outage_seconds` is
    for how long it has not been closed.
    """

    circuit: CircuitStatus
    probe_seconds: float | None
    outage_seconds: float = 0.0


class KeyChanged(Event, frozen=True):
    """An upstream key is in another state than `before`: `key` as it is now.

    `for_seconds` is how long that lasts; None where it is open.
    """

    key: KeyStatus
    before: KeyState
    for_seconds: float | None


class UpstreamKeysChanged(Event, frozen=True):
    """Upstream keys have come or gone, by their ids: `source` is where they are from."""

    source: str
    added: tuple[str, ...]
    removed: tuple[str, ...]


class KeySourceFailed(Event, frozen=True):
    """A source of upstream keys could not be read; those that it had stay in use.

    `problem` names the fix, and holds nothing of what was read.
    """

    source: str
    problem: str


class ConnectionCondemned(Event, frozen=True):
    """A connection to the upstream was closed because of bytes that nobody had requested."""


class BodyHeld(Event, frozen=True):
    """An answer that is read as a whole has so many bytes more; fewer where `by` is negative."""

    by: int
