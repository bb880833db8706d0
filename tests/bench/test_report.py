"""The benchmark's arithmetic: percentiles, goals, and the block in the documentation."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bench.programs.load import percentile
from bench.programs.processes import parse_ready
from bench.reports import report
from bench.reports.figures import Figures
from bench.reports.goals import Goal, goals

if TYPE_CHECKING:
    from pathlib import Path

FLOOR = Figures(
    title="floor",
    unary=300.0,
    burst=400.0,
    paced_10=3000.0,
    paced_20=3000.0,
    per_event=70.0,
    first_p50=1.0,
    first_p99=2.0,
    messages=20.0,
    idle_mib=40.0,
    open_mib={500: 50.0, 2000: 80.0},
    open_first_ms={500: (1.0, 2.0), 2000: (3.0, 4.0)},
    stream_kib=20.0,
    ready_s=0.3,
    errors=0,
    first_error="",
    note="",
)
OURS = replace(FLOOR, title="ours", unary=600.0)


def test_percentile_is_the_nearest_rank() -> None:
    """A percentile is a value that was seen, never one in between."""
    assert [percentile([3.0, 1.0, 2.0], p) for p in (1, 50, 99, 100)] == [1.0, 2.0, 3.0, 3.0]


def test_percentile_of_nothing() -> None:
    """Nothing seen is zero, not an error in the middle of a run."""
    assert percentile([], 99) == 0.0


def test_ready_line_names_its_ports() -> None:
    """Every address of the ready line is found by its name."""
    ready = "ready grpc=127.0.0.1:5 web=127.0.0.1:6"
    assert parse_ready(ready) == {"grpc": "127.0.0.1:5", "web": "127.0.0.1:6"}


def test_goals_are_judged_against_the_pass_through() -> None:
    """A goal in times is the ratio to the pass-through of the same run."""
    judged = goals({"passthrough": FLOOR, "backend": OURS})
    assert judged[0] == Goal("unary call, CPU against the pass-through", 2.5, 2.0, "x")
    assert all(goal.kept for goal in judged)


def test_one_error_misses_a_goal() -> None:
    """A run in which a single stream failed is not a good run."""
    judged = goals({"passthrough": FLOOR, "backend": replace(OURS, errors=1)})
    assert [goal.name for goal in judged if not goal.kept] == ["failed calls and streams"]


def test_size_that_fell_misses_its_goal() -> None:
    """A negative size a stream means that the measurement failed."""
    judged = goals({"passthrough": FLOOR, "backend": replace(OURS, stream_kib=-3.0)})
    assert [goal.unit for goal in judged if not goal.kept] == ["KiB"]


def test_peer_must_be_dearer() -> None:
    """The peer is judged only where it ran, and by how much dearer it is."""
    peer = replace(FLOOR, burst=4000.0, paced_10=60000.0)
    judged = goals({"passthrough": FLOOR, "backend": OURS, "litellm": peer})
    verdicts = {goal.reached: goal.kept for goal in judged if goal.at_least}
    assert verdicts == {10.0: False, 20.0: True}


def test_table_gives_the_ratio() -> None:
    """Each cost stands with its ratio to the pass-through, which itself has none."""
    first, second = report.table({"passthrough": FLOOR, "backend": OURS}).splitlines()[2:]
    assert first.startswith("| floor | 300 | 400 |")
    assert second.startswith("| ours | 600 (2.00x) | 400 (1.00x) |")


def test_write_replaces_only_the_block(tmp_path: Path) -> None:
    """What people wrote round the block stays as it is."""
    document = tmp_path / "performance.md"
    document.write_text(f"# Title\n\n{report.BEGIN}\nold\n{report.END}\n\nMethod.\n")
    report.write(document, "new")
    expected = f"# Title\n\n{report.BEGIN}\nnew\n{report.END}\n\nMethod.\n"
    assert document.read_text() == expected


def test_write_makes_the_document(tmp_path: Path) -> None:
    """Without a document there is one afterwards, with the block in it."""
    document = tmp_path / "docs" / "performance.md"
    report.write(document, "new")
    assert f"{report.BEGIN}\nnew\n{report.END}\n" in document.read_text()
