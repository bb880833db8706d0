"""Metrics as they are shown: one type for whoever has one to show, and read when asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from gemini_backend.telemetry.metrics.series import Histogram

    # by a tuple with a text for each label; a mapping's keys would have to be of one length
    Values = Mapping[Any, float | "Sum" | Histogram]
    Source = Callable[[], Iterable["Family"]]

MODEL = "model"
Labels = tuple[str, ...]
Kind = Literal["counter", "gauge", "summary", "histogram"]


class Sum(NamedTuple):
    """How many there were of something that is measured, and how much that was in all."""

    number: int
    total: float


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: a value, or one for each combination of labels.

    Values are numbers; of a summary they are `Sum`s, of a histogram `Histogram`s of seconds. `name`
    has neither the prefix nor a counter's `_total`. Values of the label `model` may be any models'
    names: they are shown by their metrics' label, numbers that share one added up.
    """

    kind: Kind
    name: str
    documentation: str
    values: Values
    labels: Labels = ()

    @classmethod
    def counter(cls, name: str, documentation: str, value: float) -> Family:
        """Return a single value that only grows."""
        return cls("counter", name, documentation, {(): value})

    @classmethod
    def gauge(cls, name: str, documentation: str, value: float) -> Family:
        """Return a single value that comes and goes."""
        return cls("gauge", name, documentation, {(): value})
