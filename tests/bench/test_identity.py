"""The benchmark of identity: its test finds what is there, and nothing else."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bench.identity import timing
from bench.identity.costs import costs
from bench.identity.credentials import known

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "gbk_" + "i" * 12 + "_" + "r" * 43


def test_secrets_are_wrong_in_one_place() -> None:
    """Each is of the same key and length, and differs in one character."""
    for name, group in timing.wrong(SECRET).items():
        places = {
            at for text in group for at in range(len(SECRET)) if text[at : at + 1] != SECRET[at]
        }
        assert timing.VARIANTS == len(set(group))
        assert {len(SECRET)} == {len(text) for text in group}
        assert {{"first": 17, "middle": 38, "last": 59}[name]} == places


def test_a_comparison_that_ends_early_is_found() -> None:
    """The control differs significantly, and takes longer for what is wrong at the end."""
    groups = timing.wrong(SECRET)
    found = timing.differences(timing.control(SECRET), groups, samples=1000)
    assert [True, True] == [one.significant for one in found]
    assert [True, True] == [one.nanoseconds > 0 for one in found]


def test_chance_is_no_difference() -> None:
    """Two groups with the same values differ by nothing."""
    same = timing._welch("x", [1.0, 2.0, 3.0], [3.0, 2.0, 1.0])
    assert (0.0, False) == (same.t, same.significant)
    apart = timing._welch("x", [1.0, 2.0, 3.0], [11.0, 12.0, 13.0])
    assert (10.0, True) == (apart.nanoseconds, apart.significant)
    assert 12.2 == round(apart.t, 1)


async def test_every_method_is_measured(tmp_path: Path) -> None:
    """Each method has a row, and each with a goal has its limit."""
    prepared = await known(tmp_path)
    try:
        found = await asyncio.wait_for(costs(prepared), 60)
    finally:
        await prepared.aclose()
    assert {"API key", "JWT", "certificate"} <= {
        word for one in found for word in ("API key", "JWT", "certificate") if word in one.what
    }
    assert [15.0, 25.0] == [one.limit for one in found if one.limit is not None]
