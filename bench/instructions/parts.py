"""What the parts of a call cost, out of counts with more and with less in them."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

# What is counted: the server with its whole chain, with less, with the real upstream, and only
# the translation; a script plays the upstream except where it is the real one.
WHOLE, EDGE_ONLY, BARE, REAL, TRANSLATED = "whole", "edge only", "bare", "real", "translated"
SHORT, LONG = 5, 20
COLUMNS = ("unary call", "paced stream, start and end", "paced stream, each event")
GROUPS = ("engine", "edge", "layers", "upstream client", "translation")
CHAIN = ("layers", "upstream client")
"""The server's own share of a call: all but engine, edge and translation."""
CHAIN_LIMIT = 0.5
_TRIGGER = re.compile(r"^desc: Trigger: Client Request: (.+)$", re.MULTILINE)
_TOTALS = re.compile(r"^(?:totals|summary): (\d+)", re.MULTILINE)


def without(layer: str) -> str:
    """Returns what the chain is called with a layer left out."""
    return f"without {layer}"


@dataclass(frozen=True)
class Cost:
    """Instructions of a unary call; of a paced stream without its events; of each event."""

    unary: float
    stream: float
    event: float

    def __sub__(self, other: Cost) -> Cost:
        """Returns the difference."""
        return Cost(self.unary - other.unary, self.stream - other.stream, self.event - other.event)

    def __add__(self, other: Cost) -> Cost:
        """Returns the sum."""
        return Cost(self.unary + other.unary, self.stream + other.stream, self.event + other.event)

    def __iter__(self) -> Iterator[float]:
        """Yields the three, in the order of COLUMNS."""
        return iter((self.unary, self.stream, self.event))


NOTHING = Cost(0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Parts:
    """What a call of one tree is made of.

    Attributes:
        groups: by the names of GROUPS, those that could be counted.
        layers: by name, outermost first: what the call takes less without it.
    """

    groups: dict[str, Cost]
    layers: dict[str, Cost]

    def chain(self) -> Cost:
        """Returns the cost of all but engine, edge and translation."""
        return sum((self.groups[name] for name in CHAIN), NOTHING)


def counted(folder: Path) -> dict[str, Cost]:
    """Returns the cost of everything that was counted, out of callgrind's files, by name.

    The first sample of each is left out: the interpreter still adapts itself to the calls.
    """
    samples: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for path in sorted(folder.glob("callgrind.out.*"), key=lambda path: int(path.suffix[1:])):
        text = path.read_text(errors="replace")
        label, total = _TRIGGER.search(text), _TOTALS.findall(text)
        if label and total:
            name, kind, calls = label[1].split("|")
            samples[name, kind].append(int(total[-1]) / int(calls))
    found: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for (name, kind), counts in samples.items():
        found[name][kind] = median(counts[1:])
    return {name: cost_of(kinds) for name, kinds in found.items()}


def cost_of(kinds: Mapping[str, float]) -> Cost:
    """Returns the cost by the three kinds of call: an event's is the difference of two lengths."""
    short, long = kinds[f"{SHORT} events"], kinds[f"{LONG} events"]
    event = (long - short) / (LONG - SHORT)
    return Cost(kinds[WHOLE], short - SHORT * event, event)


def parts(counts: Mapping[str, Cost], server: Cost | None) -> Parts:
    """Returns what a call is made of.

    Args:
        counts: by name, of `counted`.
        server: of the whole server with gRPC; None where it was not counted.
    """
    whole, real = counts[WHOLE], counts[REAL]
    translation = counts.get(TRANSLATED, NOTHING)
    groups = {
        "edge": counts[EDGE_ONLY] - counts[BARE],
        "layers": whole - counts[EDGE_ONLY],
        "upstream client": real - whole - translation,
        "translation": translation,
    }
    if server is not None:
        groups = {"engine": server - real + counts[BARE], **groups}
    prefix = without("")
    layers = {
        name.removeprefix(prefix): whole - cost
        for name, cost in counts.items()
        if name.startswith(prefix)
    }
    return Parts(groups, layers)


def group_table(ours: Parts, before: Parts | None) -> str:
    """Returns a row per group, then the sum, and the chain; with those before, and the ratios."""
    lines = _head("group")
    for name in GROUPS:
        if name in ours.groups:
            other = before.groups.get(name) if before else None
            lines.append(_row(name, ours.groups[name], other))
    lines.append(_row("sum", _sum(ours), _sum(before) if before else None))
    chain = "chain: " + " and ".join(CHAIN)
    lines.append(_row(chain, ours.chain(), before.chain() if before else None))
    return "\n".join(lines)


def layer_table(ours: Parts, before: Parts | None) -> str:
    """Returns a row per layer, then what none of them costs alone, and the sum."""
    lines = _head("layer")
    for name, cost in ours.layers.items():
        lines.append(_row(name, cost, before.layers.get(name) if before else None))
    lines.append(_row("shared by several", _shared(ours), _shared(before) if before else None))
    lines.append(
        _row("all layers", ours.groups["layers"], before.groups["layers"] if before else None)
    )
    return "\n".join(lines)


def chain_goals(ours: Parts, before: Parts) -> str:
    """Returns whether the chain takes at most half of what it took before."""
    now, then = ours.chain(), before.chain()
    lines = ["| goal | limit | reached |  |", "| --- | --- | --- | --- |"]
    for name, own, old in (
        (COLUMNS[0], now.unary, then.unary),
        (COLUMNS[2], now.event, then.event),
    ):
        verdict = "kept" if own <= CHAIN_LIMIT * old else "**missed**"
        ratio = own / old if old > 0 else 0.0
        lines.append(f"| chain, {name} | ≤ {CHAIN_LIMIT} x | {ratio:.2f} x | {verdict} |")
    return "\n".join(lines)


def _sum(parts: Parts) -> Cost:
    return sum(parts.groups.values(), NOTHING)


def _shared(parts: Parts) -> Cost:
    return parts.groups["layers"] - sum(parts.layers.values(), NOTHING)


def _head(first: str) -> list[str]:
    titles = [first, *COLUMNS]
    return [f"| {' | '.join(titles)} |", f"| {' | '.join(['---'] * len(titles))} |"]


def _row(name: str, cost: Cost, before: Cost | None) -> str:
    cells = [f"{value:,.0f}" for value in cost]
    if before is not None:
        pairs = zip(cost, before, cells, strict=True)
        cells = [
            f"{cell} ({own / old:.2f} of {old:,.0f})" if old > 0 else f"{cell} (before {old:,.0f})"
            for own, old, cell in pairs
        ]
    return f"| {name} | {' | '.join(cells)} |"
