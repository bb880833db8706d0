"""A run that outlives its caller, and a repetition of its request that waits for it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.config.sections.answers import JournalOptions
from gemini_backend.policies.base import opened
from gemini_backend.policies.pipeline import Pipeline
from gemini_backend.policies.sharing.journal import Journal
from tests.support.clock import settle
from tests.support.layers.session_layer import Desk, reply, request_of

if TYPE_CHECKING:
    from tests.support.clock import FakeClock

PIECES, SECONDS, GRACE = 10, 5, 12
HOW = {
    "keep": pb.OnDisconnect(mode=pb.DISCONNECT_MODE_KEEP),
    "drain": pb.OnDisconnect(mode=pb.DISCONNECT_MODE_DRAIN, drain_max_tokens=3),
}


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("stays", [True, False], ids=["waits", "leaves too"])
async def test_what_is_awaited_runs_to_its_end(clock: FakeClock, how: str, stays: bool) -> None:
    """Neither grace nor a bound of tokens ends it, until whoever waits has left as well."""
    desk = Desk(clock, reply(*["four"] * PIECES))
    desk.model.seconds = SECONDS
    await desk.create()
    journal = Journal(lambda: JournalOptions(grace_seconds=GRACE), clock)
    pipeline = Pipeline(journal, desk.policy).stream(desk.model.stream)

    def ask(on_disconnect: pb.OnDisconnect | None = None) -> Any:
        request = request_of("a", "s", request_id="r", on_disconnect=on_disconnect)
        return opened(pipeline(desk.call(), request))

    async def whole() -> list[Any]:
        async with ask() as events:
            return [event async for event in events]

    async with ask(HOW[how]) as events:
        await anext(events)
    again = asyncio.create_task(whole())
    await settle()
    if not stays:
        again.cancel()
    for _ in range(PIECES):
        await clock.advance(SECONDS)
    if stays:
        assert "e1" == (await again)[0].started.replay_of
        assert (1, 1) == (desk.kept().turns, len(desk.model.asked))
    else:
        assert 0 == desk.kept().turns
    await journal.aclose()
