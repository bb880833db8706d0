"""Figures that others keep, as they are handed to Prometheus when it asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    # by a tuple with a text for each label; a mapping's keys would have to be of one length
    Values = Mapping[Any, float]

    from gemini_backend.telemetry.metrics.series import Histogram

MODEL = "model"
Labels = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure, or one for each combination of labels.

    `name` has neither the prefix nor a counter's `_total`. Values of the label `model` may be any
    models' names: they are told by their metrics' label, those that share one added up.
    """

    kind: Literal["counter", "gauge"]
    name: str
    documentation: str
    values: Values
    labels: Labels = ()

    @classmethod
    def counter(cls, name: str, documentation: str, value: float) -> Figure:
        """Return a single figure that only grows."""
        return cls("counter", name, documentation, {(): value})

    @classmethod
    def gauge(cls, name: str, documentation: str, value: float) -> Figure:
        """Return a single figure that comes and goes."""
        return cls("gauge", name, documentation, {(): value})


@dataclass(frozen=True, slots=True)
class Times:
    """A histogram of times, in seconds; its name ends in `_seconds`."""

    name: str
    documentation: str
    histogram: Histogram
