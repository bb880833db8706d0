"""What everything has cost that was paid for: executions, summaries, embeddings; by the model.

What came out of the cache, or was shared, cost nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_backend.telemetry.events import ExecutionFinished
from gemini_backend.telemetry.metrics.metric_families import MODEL, Family
from gemini_backend.telemetry.metrics.zeros import with_zeros

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from gemini_backend.telemetry.events import Bus

_NANO = 1e9


class CostMetrics:
    """Adds up costs; bounded, for it knows models of the catalogue only."""

    def __init__(
        self,
        name_of: Callable[[str], str | None],
        first_models: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        """Count from now on.

        Args:
            name_of: Returns the name in the catalogue of a model or a served version, or None.
            first_models: Gives the models that are shown before they have cost anything.
        """
        self._first_models = first_models
        self._name_of = name_of
        self._costs: dict[str, int] = {}

    @property
    def cost_nano_usd(self) -> int:
        """What everything has cost since the start, as far as prices are known."""
        return sum(self._costs.values())

    def listen(self, bus: Bus) -> None:
        """Count what is published from now on."""
        bus.subscribe(ExecutionFinished, self._execution_finished)

    def _execution_finished(self, event: ExecutionFinished) -> None:
        """Count what one execution cost, by the model that served."""
        if not event.pays or not event.cost_nano_usd:
            return
        name = self._name_of(event.served_model or event.model)
        if name is not None:
            self._costs[name] = self._costs.get(name, 0) + event.cost_nano_usd

    def families(self) -> Iterator[Family]:
        """Yield what models have cost."""
        costs = {(name,): nano / _NANO for name, nano in self._costs.items()}
        none = ((name,) for model in self._first_models() if (name := self._name_of(model)))
        said = "Cost in US dollars of calls, as far as known, by the model whose prices apply."
        yield Family("counter", "cost_usd", said, with_zeros(costs, none), (MODEL,))
