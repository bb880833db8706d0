"""Medians, spreads, ratios, and the table of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median, mode, quantiles
from typing import TYPE_CHECKING

from bench.instructions.calls import BURST, PACED_LONG, PACED_SHORT, UNARY
from bench.instructions.parts import COLUMNS, LONG, SHORT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MOST_ODD = 0.25


@dataclass
class Counts:
    """What was counted of one kind of call on one tree, a value per sample.

    Attributes:
        instructions: of one operation: a unary call, or an event of a stream.
        messages: that a call received, on average.
    """

    instructions: list[float] = field(default_factory=list)
    messages: list[float] = field(default_factory=list)

    def middle(self) -> float:
        """Returns the median of the samples."""
        return median(self.instructions)

    def spread(self) -> float:
        """Returns half the distance of the quartiles, as a share of the median."""
        first, _, third = quantiles(self.instructions, method="inclusive")
        return (third - first) / 2 / self.middle()

    def odd(self) -> float:
        """Returns the share of samples with another number of messages than most have."""
        return sum(each != mode(self.messages) for each in self.messages) / len(self.messages)


Tree = dict[str, Counts]
"""The counts of one tree, by the name of the kind of call."""


def derived(tree: Tree) -> Tree:
    """Returns the counts with the two lengths of paced streams as the cost of a further event.

    A stream's start and end are what remains of the shorter one without its events.
    """
    short, long = tree[PACED_SHORT.name], tree[PACED_LONG.name]
    messages = [one + two for one, two in zip(short.messages, long.messages, strict=True)]
    pairs = list(zip(short.instructions, long.instructions, strict=True))
    events = [(two - one) / (LONG - SHORT) for one, two in pairs]
    starts = [one - SHORT * event for (one, _), event in zip(pairs, events, strict=True)]
    unary, start, event = COLUMNS
    return {
        unary: tree[UNARY.name],
        BURST.name: tree[BURST.name],
        start: Counts(starts, messages),
        event: Counts(events, messages),
    }


def ratios(ours: Tree, before: Tree) -> dict[str, float]:
    """Returns our median as a share of the one before, by kind."""
    return {name: counts.middle() / before[name].middle() for name, counts in ours.items()}


def above(found: Mapping[str, float], limit: float) -> list[str]:
    """Returns the kinds whose ratio is above the limit."""
    return [name for name, ratio in found.items() if ratio > limit]


def table(ours: Tree, before: Tree | None) -> str:
    """Returns a row per kind: instructions with their spread, and the ratio to the tree before."""
    found = ratios(ours, before) if before else {}
    titles = ["instructions", "this tree"] + (["before", "ratio"] if before else [])
    lines = [titles, ["---"] * len(titles)]
    for name, counts in ours.items():
        more = [_cell(before[name]), f"{found[name]:.3f}"] if before else []
        lines.append([name, _cell(counts), *more])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def remarks(trees: Sequence[Tree]) -> list[str]:
    """Returns a sentence for each kind of which too many samples differ in their messages."""
    unsure = {name for tree in trees for name, counts in tree.items() if counts.odd() > MOST_ODD}
    return [
        f"{name}: the machine was too busy, so that events were sent together; repeat the run"
        for name in sorted(unsure)
    ]


def _cell(counts: Counts) -> str:
    return f"{counts.middle():,.0f} (± {counts.spread():.2%})"
