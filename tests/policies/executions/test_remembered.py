"""Outcomes are remembered within bounds, and nobody pushes out what belongs to somebody else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from gemini.backend.v1.execute_service_pb2 import ExecutionState
from gemini_backend.config.sections.execution import ExecutionOptions
from gemini_backend.policies.executions import Remembered
from gemini_backend.policies.executions.ended import OVERHEAD_BYTES, Ended
from gemini_backend.policies.executions.progress import Facts
from gemini_backend.principal import Owner
from gemini_backend.sizes import MIB

if TYPE_CHECKING:
    from tests.support.clock import FakeClock

ANN, BOB, CID = (Owner("default", name) for name in ("ann", "bob", "cid"))


class Memory:
    """Outcomes with options that a test changes."""

    def __init__(self, clock: FakeClock, **options: Any) -> None:
        self.clock = clock
        self.options = ExecutionOptions(**options)
        self.kept = Remembered(lambda: self.options, clock)

    def set(self, **options: Any) -> None:
        self.options = replace(self.options, **options)

    def add(self, *names: str, owner: Owner = ANN, refused: bool = False, size: int = 10) -> None:
        for name in names:
            now = self.clock.now()
            facts = Facts(name, 1, now, now, None, "", "", 0, 0, "", "")
            state, rest = ExecutionState.EXECUTION_STATE_SUCCEEDED, b"x" * size
            self.kept.add(
                owner,
                Ended(facts, state, now, refused, None, None, b"", (), 0, "", rest, size + 700),
            )

    def names(self, owner: Owner = ANN) -> list[str]:
        return sorted(one.name for one in self.kept.of(owner))


def test_what_is_remembered_is_found_by_its_owner_only(clock: FakeClock) -> None:
    """An outcome is there for its owner, and for nobody else."""
    memory = Memory(clock)
    memory.add("a")
    found = memory.kept.find(ANN, "a")
    assert found is not None
    assert "a" == found.name
    assert (None, None) == (memory.kept.find(BOB, "a"), memory.kept.find(ANN, "b"))
    assert (["a"], []) == (memory.names(), memory.names(BOB))


async def test_outcomes_are_forgotten_by_their_age(clock: FakeClock) -> None:
    """After `remember_seconds` an outcome is gone, and its memory is free."""
    memory = Memory(clock, remember_seconds=60)
    memory.add("a", refused=True)
    await clock.advance(30)
    memory.add("b")
    await clock.advance(29.5)
    assert ["a", "b"] == memory.names()
    await clock.advance(1)
    assert (["b"], 1) == (memory.names(), len(memory.kept))
    await clock.advance(30)
    assert (0, 0) == (len(memory.kept), memory.kept.bytes)


async def test_a_shorter_time_holds_at_once(clock: FakeClock) -> None:
    """What is too old by the options of now is not shown, though it was not by those of before."""
    memory = Memory(clock, remember_seconds=3600)
    memory.add("a")
    await clock.advance(100)
    memory.set(remember_seconds=60)
    assert (None, []) == (memory.kept.find(ANN, "a"), memory.names())


def test_at_the_number_the_first_to_end_goes(clock: FakeClock) -> None:
    """At `max_remembered` the outcome that ended first is forgotten."""
    memory = Memory(clock, max_remembered=3)
    memory.add("a", "b", "c", "d")
    assert (["b", "c", "d"], 3) == (memory.names(), len(memory.kept))


def test_refusals_go_first(clock: FakeClock) -> None:
    """Outcomes that cost nothing take no room from those that did."""
    memory = Memory(clock, max_remembered=3)
    memory.add("a", "b")
    memory.add(*(f"r{number}" for number in range(10)), refused=True)
    assert ["a", "b", "r9"] == memory.names()


def test_nobody_pushes_out_somebody_else(clock: FakeClock) -> None:
    """Whoever has more than a share loses first; who has no more loses nothing to others."""
    memory = Memory(clock, max_remembered=4)
    memory.add("b1", owner=BOB)
    memory.add(*(f"a{number}" for number in range(10)))
    assert (["a7", "a8", "a9"], ["b1"]) == (memory.names(), memory.names(BOB))
    memory.add("c1", "c2", owner=CID)
    assert (["a8", "a9"], ["b1"], ["c2"]) == (
        memory.names(),
        memory.names(BOB),
        memory.names(CID),
    )


def test_bytes_are_bounded(clock: FakeClock) -> None:
    """At `max_remembered_mb` outcomes go in the same order; one that never fits is not taken."""
    memory = Memory(clock, max_remembered_mb=1)
    third = MIB // 3 - OVERHEAD_BYTES
    memory.add("a", "b", "c", size=third)
    assert ["a", "b", "c"] == memory.names()
    memory.add("d")
    assert ["b", "c", "d"] == memory.names()
    memory.add("e", size=MIB)
    assert ["b", "c", "d"] == memory.names()
    assert memory.kept.bytes == 2 * (third + OVERHEAD_BYTES) + 10 + OVERHEAD_BYTES


@pytest.mark.parametrize("before", [0, 5])
def test_a_bound_of_none_remembers_none(clock: FakeClock, before: int) -> None:
    """With `max_remembered` 0 nothing is kept, and what was there goes with the next one."""
    memory = Memory(clock)
    memory.add(*(f"a{number}" for number in range(before)))
    memory.set(max_remembered=0)
    memory.add("b")
    assert (0, 0) == (len(memory.kept), memory.kept.bytes)


async def test_clear_forgets_everything(clock: FakeClock) -> None:
    """After `clear` there is nothing, and nothing rings."""
    memory = Memory(clock, remember_seconds=60)
    memory.add("a")
    memory.kept.clear()
    await clock.advance(100)
    assert ([], 0, 0) == (memory.names(), len(memory.kept), memory.kept.bytes)
