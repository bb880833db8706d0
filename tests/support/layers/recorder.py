"""A listener that keeps every event, in order."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from gemini_backend.telemetry.events import Bus, ExecutionFinished
from gemini_backend.telemetry.events.event import Event

if TYPE_CHECKING:
    E = TypeVar("E", bound=Event)


class Recorder:
    """Subscribes to every type of event on a bus, one of its own unless another one is given."""

    def __init__(self, bus: Bus | None = None) -> None:
        self.bus = Bus() if bus is None else bus
        self.events: list[Event] = []
        for kind in Event.__subclasses__():
            self.bus.subscribe(kind, self.events.append)

    def of(self, kind: type[E]) -> list[E]:
        """Return the events of a type."""
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def finished(self) -> list[ExecutionFinished]:
        """How each execution ended."""
        return self.of(ExecutionFinished)
