"""Who waits for memory: owners take turns."""

from __future__ import annotations

import asyncio

from gemini_backend.memory.waiting import Waiter, WaitingLine


def waiter(owner: str, held: int = 10) -> Waiter:
    """Return one that waits for a byte."""
    return Waiter(owner, held, 1, asyncio.get_running_loop().create_future())


def served(line: WaitingLine) -> list[Waiter]:
    """Take everybody out, in turn."""
    found = []
    while (first := next(line.heads(), None)) is not None:
        line.remove(first)
        found.append(first)
    return found


async def test_owners_take_turns() -> None:
    """However many one has waiting, another's first is next but one."""
    line = WaitingLine()
    greedy = [waiter("a") for _ in range(3)]
    other = waiter("b")
    for one in (*greedy, other):
        line.add(one)
    assert [greedy[0], other, greedy[1], greedy[2]] == served(line)
    assert (0, {}) == (line.count, line.held)


async def test_the_newest_of_who_holds_the_most_is_found() -> None:
    """What is held counts, not how many wait."""
    line = WaitingLine()
    for one in (waiter("a"), waiter("a"), large := waiter("b", 30)):
        line.add(one)
    assert large is line.newest_of_most()
    assert line.remove(large)
    assert not line.remove(large)
    assert {"a": 20} == line.held
    assert WaitingLine().newest_of_most() is None
