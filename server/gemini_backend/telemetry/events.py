"""What the layers tell: frozen facts, handed to every listener as they happen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gemini.backend.v1.content_pb2 import Usage
    from gemini_backend.call import Call
    from gemini_backend.errors import ServiceError


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
