"""How much a session may hold, and what happens at its bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gemini_backend.errors import SessionFull
from tests.support.desks import Desk, reply

if TYPE_CHECKING:
    from tests.support.clock import FakeClock

ways = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])


@pytest.mark.parametrize("options", [{"max_turns": 2}, {"max_session_mb": 1}])
async def test_a_full_session_takes_no_more(clock: FakeClock, options: dict[str, int]) -> None:
    """At its bound a session refuses, before the model is asked, and names the setting."""
    desk = Desk(clock, **options)
    await desk.create()
    for _ in range(2):
        await desk.ask("x" * 400_000)
    with pytest.raises(SessionFull) as failed:
        await desk.ask("x" * 400_000)
    assert f"sessions.{next(iter(options))}" in failed.value.message
    assert 2 == len(desk.model.asked)


@ways
async def test_an_endless_answer_is_ended(clock: FakeClock, stream: bool) -> None:
    """An answer that outgrows the session ends its execution: what is held has a bound."""
    desk = Desk(clock, reply(*["x" * 100_000] * 20), stream=stream, max_session_mb=1)
    await desk.create()
    with pytest.raises(SessionFull):
        await desk.ask("a")
    assert 0 == desk.kept().turns
