"""Changes of circuits and connections, counted: a scrape sees those in between as well."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_backend.telemetry.component_status import CircuitState
from gemini_backend.telemetry.events import CircuitChanged, ConnectionCondemned
from gemini_backend.telemetry.metrics.metric_families import MODEL, Family
from gemini_backend.telemetry.metrics.zeros import with_zeros

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from gemini_backend.telemetry.events import Bus


class ChangeCounts:
    """Counts changes of circuits, and condemned connections, since the start."""

    def __init__(
        self, label_of: Callable[[str], str], first_models: Callable[[], Iterable[str]] = tuple
    ) -> None:
        """Count models by the label that `label_of` gives them, so that they stay few.

        Those of `first_models` are shown before their first change.
        """
        self._label_of = label_of
        self._first_models = first_models
        self._circuits: dict[tuple[str, ...], float] = {}
        self._condemned = 0

    def listen(self, bus: Bus) -> None:
        """Count what is published from now on."""
        bus.subscribe(CircuitChanged, self._circuit)
        bus.subscribe(ConnectionCondemned, self._connection)

    def _circuit(self, event: CircuitChanged) -> None:
        key = (self._label_of(event.circuit.key), event.circuit.state.name.lower())
        self._circuits[key] = self._circuits.get(key, 0) + 1

    def _connection(self, _event: ConnectionCondemned) -> None:
        self._condemned += 1

    def families(self) -> Iterator[Family]:
        """Yield what was counted."""
        states = [state.name.lower() for state in CircuitState]
        none = ((model, state) for model in self._first_models() for state in states)
        yield Family(
            "counter",
            "circuit_changes",
            "Transitions of circuit breakers into a state.",
            with_zeros(self._circuits, none),
            (MODEL, "state"),
        )
        yield Family.counter(
            "upstream_condemned_connections",
            "Connections closed because of unrequested bytes.",
            self._condemned,
        )
