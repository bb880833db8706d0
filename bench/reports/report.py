"""Prints the figures as Markdown, and puts them into the documentation."""

from __future__ import annotations

import os
import platform
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from bench.measures import Series
    from bench.reports.figures import Figures
    from bench.reports.goals import Goal

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
COLUMNS = ("unary", "burst", "paced_10", "paced_20", "per_event")
HEADER = (
    "server",
    "unary",
    "burst stream",
    "paced stream, 10 ms",
    "paced stream, 20 ms",
    "each further paced event",
    "added first delta p50 / p99, ms",
    "MiB idle → 500 → 2,000 streams",
    "KiB per stream",
    "ready, s",
)
NEW_DOCUMENT = f"""# Speed and memory

{BEGIN}
{END}

How it is measured, and what the words mean: [bench/README.md](../bench/README.md).
"""


def heading(command: str) -> str:
    """Returns what was run, on what, and what the figures are."""
    return (
        f"Made by `{command}` on {machine()}. CPU in µs of the server's process tree "
        "for one call or stream of 20 events; in brackets against the pass-through."
    )


def table(figures: dict[str, Figures]) -> str:
    """Returns the table: CPU µs an exchange, with the ratio to the pass-through in brackets."""
    lines = [_line(HEADER), _line("---" for _ in HEADER)]
    floor = figures["passthrough"]
    for each in figures.values():
        cells = [each.title]
        for column in COLUMNS:
            value, base = getattr(each, column), getattr(floor, column)
            ratio = f" ({value / base:.2f}x)" if each is not floor and base > 0 else ""
            cells.append(f"{value:,.0f}{ratio}")
        cells.append(f"{each.first_p50:.2f} / {each.first_p99:.2f}")
        sizes = [each.idle_mib, *each.open_mib.values()]
        cells.append(" → ".join(f"{size:.0f}" for size in sizes) if each.idle_mib else "-")
        cells.append(f"{each.stream_kib:.0f}" if each.stream_kib else "-")
        cells.append(f"{each.ready_s:.2f}" if each.ready_s else "-")
        lines.append(_line(cells))
    return "\n".join(lines)


def goal_table(goals: list[Goal]) -> str:
    """Returns the goals, what was reached, and whether that is enough."""
    lines = [_line(("goal", "limit", "reached", "")), _line(("---",) * 4)]
    for goal in goals:
        sign = "≥" if goal.at_least else "≤"
        verdict = "kept" if goal.kept else "**missed**"
        limit = f"{sign} {goal.limit:g} {goal.unit}".strip()
        lines.append(_line((goal.name, limit, f"{goal.reached:.2f} {goal.unit}".strip(), verdict)))
    return "\n".join(lines)


def tools(series: dict[str, Series]) -> str:
    """Returns a sentence on what the upstream and the client cost while ours was measured."""
    parts = [
        f"{name.replace('_', ' ')} {one.upstream_us[-1]:.0f} and {one.client_us[-1]:.0f}"
        for name, one in series.items()
        if one.upstream_us
    ]
    return "CPU µs of the upstream and of the load client themselves: " + ", ".join(parts) + "."


def machine() -> str:
    """Returns what kind of machine it was, and nothing that names it."""
    return (
        f"{os.cpu_count()} cores ({platform.machine()}), Linux, "
        f"{platform.python_implementation()} {platform.python_version()}"
    )


def remarks(figures: dict[str, Figures]) -> str:
    """Returns what the table has no column for: merged messages, and waits under many streams."""
    ours = figures["backend"]
    waits = [
        f"{each.title} {', '.join(_wait(count, *ms) for count, ms in each.open_first_ms.items())}"
        for each in figures.values()
        if each.open_first_ms
    ]
    sentences = [
        f"A burst of 20 events leaves {ours.title} as {ours.messages:.1f} messages on average.",
        f"First delta p50 / p99 while 1,000 slow streams per second start: {'; '.join(waits)}.",
        *(f"{each.title}: {each.note}" for each in figures.values() if each.note),
    ]
    return " ".join(sentences)


def _wait(count: int, median: float, late: float) -> str:
    return f"{median:,.0f} / {late:,.0f} ms up to {count:,} open"


def write(document: Path, block: str) -> None:
    """Replaces the marked block of `document`, which is made if it is not there."""
    text = document.read_text() if document.exists() else NEW_DOCUMENT
    if BEGIN not in text or END not in text:
        text = f"{text.rstrip()}\n\n{BEGIN}\n{END}\n"
    before, rest = text.split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    document.parent.mkdir(parents=True, exist_ok=True)
    document.write_text(f"{before}{BEGIN}\n{block}\n{END}{after}")


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"
