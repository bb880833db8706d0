"""Counting instructions: reading callgrind's files, medians, ratios and the limit."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

import pytest

from bench.instructions import __main__ as command
from bench.instructions.assembled import EDGE, assembled
from bench.instructions.callgrind import CountError, environment, parse_totals
from bench.instructions.calls import PACED_LONG, PACED_SHORT
from bench.instructions.counts import Counts, above, derived, ratios, remarks, table
from bench.instructions.parts import (
    BARE,
    EDGE_ONLY,
    LONG,
    NOTHING,
    REAL,
    SHORT,
    TRANSLATED,
    WHOLE,
    Cost,
    Parts,
    chain_goals,
    counted,
    group_table,
    layer_table,
    parts,
    without,
)
from bench.programs import ask_backend

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


def test_a_further_event_is_the_difference_of_two_lengths() -> None:
    """What is left of the shorter stream without its events is its start and end."""
    counts = {"unary call": Counts([7.0]), "burst, per event": Counts([3.0])}
    short = Counts([100.0 + SHORT * 10.0], [SHORT + 2.0])
    long = Counts([100.0 + LONG * 10.0], [LONG + 2.0])
    tree = derived({**counts, PACED_SHORT.name: short, PACED_LONG.name: long})
    assert [counts.instructions for counts in tree.values()] == [[7.0], [3.0], [100.0], [10.0]]


def dump(folder: Path, number: int, label: str, total: int) -> None:
    """Write what callgrind writes for a count."""
    text = f"desc: Trigger: Client Request: {label}\nsummary: 1\n\ntotals: {total}\n"
    (folder / f"callgrind.out.{number}").write_text(text)


def test_counts_of_parts_are_read_by_name(tmp_path: Path) -> None:
    """A call's count is the median of the samples, without the first, divided by their calls."""
    numbers = count(1)
    for total in (900, 40, 40):
        dump(tmp_path, next(numbers), "real|whole|4", total)
    for total in (900, 150, 150):
        dump(tmp_path, next(numbers), f"real|{SHORT} events|1", total)
    for total in (900, 300, 300):
        dump(tmp_path, next(numbers), f"real|{LONG} events|1", total)
    event = 150 / (LONG - SHORT)
    assert counted(tmp_path) == {"real": Cost(10.0, 150 - SHORT * event, event)}


COUNTED = {
    WHOLE: Cost(100.0, 200.0, 20.0),
    EDGE_ONLY: Cost(30.0, 60.0, 6.0),
    BARE: Cost(10.0, 20.0, 2.0),
    without("cache"): Cost(90.0, 190.0, 20.0),
    without("retry"): Cost(85.0, 180.0, 15.0),
    REAL: Cost(160.0, 300.0, 50.0),
    TRANSLATED: Cost(40.0, 50.0, 25.0),
}


def test_groups_add_up_to_the_server() -> None:
    """Each group is a difference of two counts, and their sum is what the server takes."""
    found = parts(COUNTED, Cost(300.0, 600.0, 90.0))
    assert [(name, cost.unary, cost.event) for name, cost in found.groups.items()] == [
        ("engine", 150.0, 42.0),
        ("edge", 20.0, 4.0),
        ("layers", 70.0, 14.0),
        ("upstream client", 20.0, 5.0),
        ("translation", 40.0, 25.0),
    ]
    assert "| sum | 300 | 600 | 90 |" in group_table(found, None)


def test_chain_is_all_but_engine_edge_and_translation() -> None:
    """The goal is about the layers together with the client of the model API."""
    assert parts(COUNTED, None).chain() == Cost(90.0, 190.0, 19.0)


def test_layers_are_shown_with_what_several_share() -> None:
    """What no layer saves alone, such as a relay that several need, has a row of its own."""
    rows = layer_table(parts(COUNTED, None), None).splitlines()[2:]
    assert rows == [
        "| cache | 10 | 10 | 0 |",
        "| retry | 15 | 20 | 5 |",
        "| shared by several | 45 | 110 | 9 |",
        "| all layers | 70 | 140 | 14 |",
    ]


@pytest.mark.parametrize(("share", "verdict"), [(0.5, "kept"), (0.51, "**missed**")])
def test_chain_may_take_half_of_what_it_took(share: float, verdict: str) -> None:
    """The goal is judged for a unary call and for an event."""
    before = Parts({"layers": Cost(100.0, 1.0, 10.0), "upstream client": NOTHING}, {})
    own = Cost(100.0 * share, 9.0, 10.0 * share)
    now = Parts({"layers": own, "upstream client": NOTHING}, {})
    verdicts = [line.split(" | ")[-1] for line in chain_goals(now, before).splitlines()[2:]]
    assert verdicts == [f"{verdict} |"] * 2


async def test_the_door_calls_what_is_mounted() -> None:
    """The server's own handlers answer, through the layers that are kept, without a port."""
    address = {"UPSTREAM__GEMINI__BASE_URL": "http://127.0.0.1:1", "LOGGING__LEVEL": "error"}
    environment = {f"GEMINI_BACKEND_{name}": value for name, value in address.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GEMINI_API_KEY", "a-key-for-a-test")
        for name, value in environment.items():
            patch.setenv(name, value)
        made = await assembled(scripted=True)
    unary = ask_backend("", "bench-unary", 1)
    stream = ask_backend("", "bench-paced-100x3", 3)
    for door in (made.door(), made.door(lambda name: name in EDGE), made.bare()):
        assert await door.call(unary.path, unary.body) == 1
        assert await door.call(stream.path, stream.body) == 5  # started, 3 deltas, completed
    assert "coalesce" in made.layers


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
