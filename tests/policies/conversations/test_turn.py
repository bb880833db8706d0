"""How much a session may hold, and what happens at its bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gemini_backend.errors import SessionFull
from tests.support.layers.session_layer import Desk, reply

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


@ways
async def test_counts_stand_still_where_their_fields_end(clock: FakeClock, stream: bool) -> None:
    """A session that has used more tokens than its counts can say goes on all the same."""
    answers = [reply("x", prompt=2**31 - 2, total_token_count=2**31 - 1) for _ in range(2)]
    for _, _, usage in answers:
        usage.prompt_tokens_details.add(token_count=2**31 - 2)
    desk = Desk(clock, *answers, stream=stream)
    await desk.create()
    for _ in range(2):
        await desk.ask("a")
    used = desk.session().usage
    assert (2, [2**31 - 1] * 3) == (
        desk.kept().turns,
        [
            used.prompt_token_count,
            used.total_token_count,
            used.prompt_tokens_details[0].token_count,
        ],
    )


@ways
async def test_a_long_conversation_is_worked_on_in_slices(clock: FakeClock, stream: bool) -> None:
    """Its size is said to all that work on it, however short the new turn is."""
    desk = Desk(clock, stream=stream)
    await desk.create()
    for said in ("a" * 40_000, "b" * 40_000):
        await desk.ask(said)
    assert [0, desk.model.asked[1].ByteSize()] == desk.model.large
