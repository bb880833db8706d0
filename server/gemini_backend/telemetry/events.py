"""What the layers tell: frozen facts, handed to every listener as they happen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gemini.backend.v1.content_pb2 import Usage
    from gemini_backend.call import Call
    from gemini_backend.errors import ServiceError
    from gemini_backend.telemetry.health.component_status import CircuitStatus, KeyState, KeyStatus


@dataclass(frozen=True, slots=True)
class ExecutionFinished:
    """An execution has ended: well, by `error`, or because the caller left (`cancelled`).

    Times are seconds. `model` is the one that was asked for: the version that served is on the
    call, and is not known of what failed early.
    """

    call: Call
    model: str
    seconds: float
    first_token_seconds: float | None
    usage: Usage | None
    error: ServiceError | None
    cancelled: bool


@dataclass(frozen=True, slots=True)
class CircuitChanged:
    """A circuit breaker has opened, tries its model again, or has closed: `circuit` as it is now.

    `probe_seconds` is the time until it tries again; None unless it is open.
    """

    circuit: CircuitStatus
    probe_seconds: float | None


@dataclass(frozen=True, slots=True)
class KeyChanged:
    """An upstream key is in another state than `before`: `key` as it is now.

    `for_seconds` is how long that lasts; None where it is open.
    """

    key: KeyStatus
    before: KeyState
    for_seconds: float | None


@dataclass(frozen=True, slots=True)
class AdmissionRefused:
    """The queue before upstream has refused a call: why, and how it stands."""

    why: str
    priority: str
    running: int
    queued: int
    estimated_wait: float


@dataclass(frozen=True, slots=True)
class ConnectionCondemned:
    """A connection to upstream was closed since bytes came on it that nobody had asked for."""


Change = CircuitChanged | KeyChanged | AdmissionRefused | ConnectionCondemned


def untold(_change: Change) -> None:
    """Tell nobody."""


class Watcher(Protocol):
    """Somebody who wants to know of changes; must be quick and must not raise."""

    def changed(self, change: Change, /) -> None:
        """Take note of it."""
        ...


class Watchers:
    """Hands each change to every watcher, in order."""

    def __init__(self, watchers: Sequence[Watcher] = ()) -> None:
        """Know these watchers; the list never changes."""
        self._watchers = tuple(watchers)

    def changed(self, change: Change, /) -> None:
        """Tell all of them."""
        for watcher in self._watchers:
            watcher.changed(change)


class Listener(Protocol):
    """Somebody who wants to know; must be quick and must not raise."""

    def execution_started(self, call: Call, /) -> None:
        """Take note of it."""
        ...

    def execution_finished(self, event: ExecutionFinished, /) -> None:
        """Take note of it."""
        ...


class Listeners:
    """Hands each event to every listener, in order."""

    def __init__(self, listeners: Sequence[Listener] = ()) -> None:
        """Know these listeners; the list never changes."""
        self._listeners = tuple(listeners)

    def execution_started(self, call: Call, /) -> None:
        """Tell all of them."""
        for listener in self._listeners:
            listener.execution_started(call)

    def execution_finished(self, event: ExecutionFinished, /) -> None:
        """Tell all of them."""
        for listener in self._listeners:
            listener.execution_finished(event)
