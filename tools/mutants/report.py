"""What a run says: a row for each file, and the share of mutants that the tests noticed."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tools.mutants.trial import Outcome

GOAL = 0.8


def share(outcomes: Sequence[Outcome]) -> float:
    """Return how many of all mutants were killed, from 0 to 1; 0 without any."""
    return sum(one.killed for one in outcomes) / len(outcomes) if outcomes else 0.0


def table(outcomes: Sequence[Outcome]) -> str:
    """Return a row for each file, worst first, and one for all."""
    files = defaultdict(list)
    for one in outcomes:
        files[one.file.path.as_posix()].append(one)
    rows = [
        _row(name, found) for name, found in sorted(files.items(), key=lambda row: share(row[1]))
    ]
    head = ["| file | mutants | killed | share | s |", "|---|---|---|---|---|"]
    return "\n".join([*head, *rows, _row("all", outcomes), ""])


def _row(name: str, outcomes: Iterable[Outcome]) -> str:
    found = list(outcomes)
    killed = sum(one.killed for one in found)
    seconds = sum(one.seconds for one in found)
    return f"| {name} | {len(found)} | {killed} | {100 * share(found):.0f} % | {seconds:.0f} |"
