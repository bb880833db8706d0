"""Counting instructions: reading callgrind's files, medians, ratios and the limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench.instructions import __main__ as command
from bench.instructions.callgrind import CountError, environment, parse_totals
from bench.instructions.counts import Counts, above, ratios, remarks, table

if TYPE_CHECKING:
    from pathlib import Path

DUMP = """version: 1
part: 2
desc: Trigger: Client Request
events: Ir
fn=(1) main
0 20

totals: 2248921
"""
BEFORE = {"unary call": Counts([100.0, 102.0, 98.0], [1.0, 1.0, 1.0])}
OURS = {"unary call": Counts([104.0, 104.0, 120.0], [1.0, 1.0, 1.0])}


def test_total_of_a_dump() -> None:
    """The count of a sample is the total of callgrind's file."""
    assert parse_totals(DUMP) == 2_248_921


def test_dump_without_a_total() -> None:
    """A file that was cut short is an error, not a count of 0."""
    with pytest.raises(CountError, match="without a total"):
        parse_totals(DUMP.partition("totals")[0])


def test_ratio_is_that_of_the_medians() -> None:
    """One sample that was disturbed does not change the ratio."""
    assert ratios(OURS, BEFORE) == {"unary call": 1.04}


def test_spread_ignores_a_single_disturbed_sample() -> None:
    """The spread is half the distance of the quartiles, as a share of the median."""
    counts = Counts([98.0, 99.0, 100.0, 101.0, 900.0])
    assert (counts.middle(), counts.spread()) == (100.0, 0.01)


@pytest.mark.parametrize(("limit", "expected"), [(1.03, ["unary call"]), (1.04, []), (1.05, [])])
def test_only_what_exceeds_the_limit_fails(limit: float, expected: list[str]) -> None:
    """A ratio at the limit is accepted."""
    assert above(ratios(OURS, BEFORE), limit) == expected


def test_table_of_two_trees() -> None:
    """Both counts are shown with their spread, then their ratio."""
    row = table(OURS, BEFORE).splitlines()[2]
    assert row == "| unary call | 104 (± 3.85%) | 100 (± 1.00%) | 1.040 |"


def test_table_of_one_tree() -> None:
    """Without a second tree there is no ratio."""
    assert table(BEFORE, None).splitlines() == [
        "| instructions | this tree |",
        "| --- | --- |",
        "| unary call | 100 (± 1.00%) |",
    ]


@pytest.mark.parametrize(("late", "expected"), [(1, 0), (3, 1)])
def test_a_busy_machine_is_reported(late: int, expected: int) -> None:
    """Streams whose events were sent together are ignored while they are few."""
    counts = Counts([5.0] * 10, [22.0] * (10 - late) + [19.0] * late)
    assert len(remarks([{"paced stream": counts}])) == expected


def test_a_tree_is_run_from_its_own_sources(tmp_path: Path) -> None:
    """The checkout's code precedes what is installed, and hashes are the same in each run."""
    assert environment(tmp_path) == {
        "PYTHONPATH": f"{tmp_path}/server:{tmp_path}/clients/python/src",
        "PYTHONHASHSEED": "0",
    }


def test_without_valgrind(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The command names the package to install, and does not exit as if the limit was exceeded."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert command.main([]) == 2
    assert "apt-get install valgrind" in capsys.readouterr().err


def test_a_folder_without_a_server(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A wrong path is refused; the installed server is not counted in its place."""
    monkeypatch.setattr(command, "check_tools", lambda: None)
    assert command.main(["--tree", str(tmp_path)]) == 2
    assert "there is no server in" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--limit", "1.03"], "--limit needs --against"),
        (["--keep", "."], "name a folder to be made"),
        (["--rounds", "0"], "--rounds must be 1 or more"),
    ],
)
def test_wrong_options_are_refused(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    """What cannot be counted is refused before a server is started."""
    with pytest.raises(SystemExit, match="2"):
        command.main(arguments)
    assert message in capsys.readouterr().err
