"""The benchmark's arithmetic: percentiles, goals, and the block in the documentation."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from bench.beside import Beside
from bench.cancels import Cancels
from bench.measures.comparisons import Comparison, paired_ratio
from bench.programs.load import percentile
from bench.programs.processes import parse_ready
from bench.reports import documents, report
from bench.reports.figures import Figures
from bench.reports.goals import Goal, goals
from bench.unread import Unread

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
    rounds={"unary": [300.0] * 3, "burst": [400.0] * 3, "paced_10": [3000.0] * 3},
)
OURS = replace(
    FLOOR,
    title="ours",
    unary=600.0,
    rounds={"unary": [600.0] * 3, "burst": [400.0] * 3, "paced_10": [3000.0] * 3},
)


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


def test_unary_calls_are_judged_by_one_peer_and_streams_by_another() -> None:
    """A goal in times is the ratio to a peer that was measured in the same run."""
    peers = {"ferrogw": FLOOR, "tensorzero": FLOOR}
    judged = goals({"passthrough": FLOOR, "backend": OURS, **peers})[:3]
    assert [(goal.limit, goal.reached) for goal in judged] == [(4.5, 2.0), (1.5, 1.0), (2.2, 1.0)]


def test_without_peers_only_our_own_goals_are_judged() -> None:
    """The pass-through is information: no goal is relative to it."""
    judged = goals({"passthrough": FLOOR, "backend": OURS})
    assert {goal.unit for goal in judged} == {"MiB", "KiB", "s", ""}


def test_ratio_is_of_each_round() -> None:
    """A round in which the machine was slow disturbs both costs of its pair, and no ratio."""
    assert paired_ratio([2.0, 8.0, 2.2], [1.0, 4.0, 1.0]) == 2.0


@pytest.mark.parametrize(
    ("reached", "expected"), [(1.1, "kept"), (1.3, "kept, aim missed"), (1.6, "**missed**")]
)
def test_a_missed_aim_is_told_and_decides_nothing(reached: float, expected: str) -> None:
    """Only the limit decides whether a goal is kept."""
    assert Goal("burst", 1.5, reached, "x", aim=1.2).verdict == expected


def test_what_is_measured_beside_the_table_is_judged() -> None:
    """Hits, followers, sessions, unread streams and cancels have goals of their own."""
    hit = Comparison("hit", "echo", [140.0] * 2, [100.0] * 2, 1.4, errors=1)
    found = Beside([hit], Unread(10, 100.0, 110.0), Cancels({"early": [1.0, 2.0, 7.0]}))
    judged = goals({"backend": OURS}, found)[-4:]
    assert [(goal.reached, goal.kept) for goal in judged] == [
        (1.4, True),
        (1.0, False),
        (7.0, False),
        (1, False),
    ]


def test_what_is_measured_beside_the_table_is_shown() -> None:
    """Both costs of a comparison, the size of an unread stream, and the cancels' times."""
    hit = Comparison("hit", "echo", [140.0, 150.0], [100.0, 100.0], 1.4)
    found = Beside([hit], Unread(10, 100.0, 105.0), Cancels({"early": [1.0, 2.0, 7.0]}))
    shown = report.beside_block(found)
    assert "| hit | 145 | echo | 100 | 1.45x |" in shown
    assert "100 → 105 MB, 0.50 MB each" in shown
    assert "3 cancels, p50 / p99: 2.00 / 7.00 ms (early 2.00 / 7.00)" in shown


def test_each_server_says_what_it_did_for_its_figures() -> None:
    """Figures of servers that do different things are not shown without that."""
    peer = replace(FLOOR, title="peer", note="Translates nothing.")
    assert report.peer_notes({"a": FLOOR, "b": peer}) == "- peer: Translates nothing."


def test_one_error_misses_a_goal() -> None:
    """A run in which a single stream failed is not a good run."""
    judged = goals({"passthrough": FLOOR, "backend": replace(OURS, errors=1)})
    assert [goal.name for goal in judged if not goal.kept] == ["failed calls and streams"]


def test_size_that_fell_misses_its_goal() -> None:
    """A negative size a stream means that the measurement failed."""
    judged = goals({"passthrough": FLOOR, "backend": replace(OURS, stream_kib=-3.0)})
    assert [goal.unit for goal in judged if not goal.kept] == ["KiB"]


@pytest.mark.parametrize(("burst", "expected"), [(7999.0, False), (8000.0, True)])
def test_the_slow_peer_must_be_dearer(burst: float, expected: bool) -> None:
    """LiteLLM is judged by how much dearer it is."""
    peer = replace(FLOOR, rounds={"burst": [burst] * 3})
    judged = goals({"passthrough": FLOOR, "backend": OURS, "litellm": peer})
    assert [goal.kept for goal in judged if goal.at_least] == [expected]


def test_table_gives_the_ratio() -> None:
    """Without peers each cost stands with its ratio to the pass-through, which has none itself."""
    first, second = report.table({"passthrough": FLOOR, "backend": OURS}).splitlines()[2:]
    assert first.startswith("| floor | 300 | 400 |")
    assert second.startswith("| ours | 600 (2.00x) | 400 (1.00x) |")


def test_ratios_are_to_the_peers_where_there_are_any() -> None:
    """Unary calls are compared with ferrogw, streams with TensorZero."""
    go = replace(FLOOR, rounds={**FLOOR.rounds, "unary": [200.0] * 3})
    rust = replace(FLOOR, rounds={**FLOOR.rounds, "burst": [100.0] * 3})
    figures = {"passthrough": FLOOR, "backend": OURS, "ferrogw": go, "tensorzero": rust}
    assert report.table(figures).splitlines()[3].startswith("| ours | 600 (3.00x) | 400 (4.00x) |")


@pytest.mark.parametrize("name", ["bench", "instructions"])
def test_write_replaces_only_the_block(tmp_path: Path, name: str) -> None:
    """What people wrote round the block, and the other blocks, stay as they are."""
    begin, end = documents.marks(name)
    document = tmp_path / "performance.md"
    document.write_text(f"# Title\n\n{begin}\nold\n{end}\n\nMethod.\n<!-- other:begin -->\n")
    documents.write(document, "new", name)
    expected = f"# Title\n\n{begin}\nnew\n{end}\n\nMethod.\n<!-- other:begin -->\n"
    assert document.read_text() == expected


def test_write_makes_the_document(tmp_path: Path) -> None:
    """Without a document there is one afterwards, with the block in it."""
    document = tmp_path / "docs" / "performance.md"
    documents.write(document, "new")
    begin, end = documents.marks("bench")
    assert f"{begin}\nnew\n{end}\n" in document.read_text()
