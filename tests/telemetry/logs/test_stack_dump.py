"""Where everything is, for whoever has to find out why a server hangs."""

from __future__ import annotations

import asyncio

from gemini_backend.telemetry.logs.stack_dump import task_stacks, thread_stacks


async def _innermost(event: asyncio.Event) -> None:
    await event.wait()


async def _outer(event: asyncio.Event) -> None:
    await _innermost(event)


async def test_a_task_is_where_its_innermost_coroutine_waits() -> None:
    """Equal stacks are one, with how many tasks wait there."""
    event = asyncio.Event()
    tasks = [asyncio.create_task(_outer(event)) for _ in range(3)]
    await asyncio.sleep(0)
    found = {where: count for where, count in task_stacks().items() if "Event.wait" in where}
    event.set()
    await asyncio.gather(*tasks)
    ((where, count),) = found.items()
    names = [place.rpartition(" ")[2] for place in where.split(" < ")]
    assert (3, ["Event.wait", "_innermost", "_outer"]) == (count, names)


def test_a_thread_is_shown_from_its_innermost_place() -> None:
    """Places are files, lines and names; no value of a variable is among them."""
    secret = "swordfish"
    (where,) = [one for name, one in thread_stacks().items() if name == "MainThread"]
    assert "test_a_thread_is_shown_from_its_innermost_place" in where
    assert secret not in where
