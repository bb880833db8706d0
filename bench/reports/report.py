"""Shows the figures as Markdown."""

from __future__ import annotations

import os
import platform
from typing import TYPE_CHECKING

from bench.measures import comparison_table
from bench.programs import percentile

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bench.beside import Beside
    from bench.measures import Series
    from bench.reports.figures import Figures
    from bench.reports.goals import Goal

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
# What a column's ratio is to, the first one that was measured.
BASES = {"unary": ("ferrogw", "passthrough")}
BASE = ("tensorzero", "passthrough")


def heading(command: str, figures: dict[str, Figures]) -> str:
    """Returns what was run, on what, and what the figures are."""
    unary, others = base_of("unary", figures).title, base_of("burst", figures).title
    against = f"{unary} for unary calls and against {others} for streams"
    return (
        f"Made by `{command}` on {machine()}. CPU in µs of the server's process tree for one call "
        "or stream of 20 events; in brackets the ratio, as the median of the rounds' ratios, "
        f"against {against if unary != others else unary}."
    )


def base_of(column: str, figures: dict[str, Figures]) -> Figures:
    """Returns the server that the ratios of a column are to."""
    return next(figures[key] for key in BASES.get(column, BASE) if key in figures)


def table(figures: dict[str, Figures]) -> str:
    """Returns the table: CPU µs for one exchange, with the ratio to another server in brackets."""
    lines = [_line(HEADER), _line("---" for _ in HEADER)]
    for each in figures.values():
        cells = [each.title]
        for column in COLUMNS:
            value, base = getattr(each, column), base_of(column, figures)
            cells.append(f"{value:,.0f}{_ratio(each, base, column)}")
        cells.append(f"{each.first_p50:.2f} / {each.first_p99:.2f}")
        sizes = [each.idle_mib, *each.open_mib.values()]
        cells.append(" → ".join(f"{size:.0f}" for size in sizes) if each.idle_mib else "-")
        cells.append(f"{each.stream_kib:.0f}" if each.stream_kib else "-")
        cells.append(f"{each.ready_s:.2f}" if each.ready_s else "-")
        lines.append(_line(cells))
    return "\n".join(lines)


def _ratio(each: Figures, base: Figures, column: str) -> str:
    """Returns the ratio in brackets; nothing for the base itself, or where it has no cost."""
    if each is base:
        return ""
    if column in each.rounds:
        ratio = each.ratio(base, column)
    else:
        own, other = getattr(each, column), getattr(base, column)
        ratio = own / other if other > 0 else 0.0
    return f" ({ratio:.2f}x)" if ratio > 0 else ""


def goal_table(goals: list[Goal]) -> str:
    """Returns the goals, what was reached, and whether that is enough."""
    lines = [_line(("goal", "limit", "aim", "reached", "")), _line(("---",) * 5)]
    for goal in goals:
        sign = "≥" if goal.at_least else "≤"
        limit = f"{sign} {goal.limit:g} {goal.unit}".strip()
        aim = "" if goal.aim is None else f"{sign} {goal.aim:g} {goal.unit}".strip()
        reached = f"{goal.reached:.2f} {goal.unit}".strip()
        lines.append(_line((goal.name, limit, aim, reached, goal.verdict)))
    return "\n".join(lines)


def peer_notes(figures: dict[str, Figures]) -> str:
    """Returns what each server did and did not do for its figures, one per line."""
    return "\n".join(f"- {each.title}: {each.note}" for each in figures.values() if each.note)


def beside_block(beside: Beside) -> str:
    """Returns the comparisons of our server, and what callers cost that do not read, or leave."""
    unread, cancels = beside.unread, beside.cancels
    moments = "; ".join(
        f"{moment} {percentile(times, 50):.2f} / {percentile(times, 99):.2f}"
        for moment, times in cancels.by_moment.items()
    )
    return (
        f"{comparison_table(beside.comparisons)}\n\n"
        f"{unread.callers} callers that do not read their endless streams: "
        f"{unread.before:.0f} → {unread.most:.0f} MB, {unread.each():.2f} MB each. "
        f"From a cancel until the request to Gemini is closed, {len(cancels.all_ms())} cancels, "
        f"p50 / p99: {cancels.p50():.2f} / {cancels.p99():.2f} ms ({moments})."
    )


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
    ]
    return " ".join(sentences)


def _wait(count: int, median: float, late: float) -> str:
    return f"{median:,.0f} / {late:,.0f} ms up to {count:,} open"


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"
