"""One bus: events go from those who publish to those who have subscribed, by their type.

An event is handled at once, in the task that publishes it, by each handler in the order of
subscription. So the events of one execution are heard in the order in which they happen. What a
handler itself publishes is heard before the remaining handlers of the first event.

A handler is quick and does not raise. One that does all the same is a defect: it is logged, and
neither the publisher nor any other handler is affected.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini_backend.telemetry.events.event import Event

    E = TypeVar("E", bound=Event)
    Handlers = tuple[Callable[[Any], None], ...]

_log = logging.getLogger(__name__)


class Publisher(Protocol):
    """The side of the bus that a policy sees."""

    def heard(self, kind: type[Event], /) -> bool:
        """Return whether anybody listens to a type of event; if not, it need not be made."""
        ...

    def publish(self, event: Event, /) -> None:
        """Hand an event to everybody who listens to its type."""
        ...


class Bus:
    """Hands each event to the handlers of its very type."""

    def __init__(self) -> None:
        """Begin without handlers."""
        self._handlers: dict[type[Event], Handlers] = {}
        self._failures: dict[Any, int] = {}

    def subscribe(self, kind: type[E], handler: Callable[[E], None]) -> None:
        """Hand each later event of a type to `handler`; to be called before the server serves."""
        self._handlers[kind] = (*self._handlers.get(kind, ()), handler)

    def heard(self, kind: type[Event], /) -> bool:
        """Return whether anybody listens to a type of event; if not, it need not be made."""
        return kind in self._handlers

    def publish(self, event: Event, /) -> None:
        """Hand an event to everybody who listens to its type."""
        for handler in self._handlers.get(type(event), ()):
            try:
                handler(event)
            except Exception:  # noqa: BLE001 - a listener must never be what breaks a call
                self._failed(handler, event)

    def _failed(self, handler: Callable[[Any], None], event: Event) -> None:
        """Log the 1st, 10th, 100th… failure of a handler: it may fail at every execution."""
        count = self._failures[handler] = self._failures.get(handler, 0) + 1
        if str(count).rstrip("0") == "1":
            name = getattr(handler, "__qualname__", type(handler).__qualname__)
            facts = {"handler": name, "of": type(event).__name__, "failures": count}
            _log.error("event_handler_failed", extra=facts, exc_info=True)


class _Silent:
    """A publisher that nobody can listen to."""

    def heard(self, _kind: type[Event], /) -> bool:
        return False

    def publish(self, _event: Event, /) -> None:
        """Let it pass."""


SILENT = _Silent()
