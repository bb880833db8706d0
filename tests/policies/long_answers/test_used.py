"""What a long answer has used when it does not come to its end: all hops, once each."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from gemini_backend.errors import IdleTimeout
from gemini_backend.policies.outcome.execution_events import ExecutionEvents
from tests.support.layers.recorder import Recorder
from tests.support.upstreams.hop_upstream import ESTIMATED, LongAnswer, Run, asked, hop, usage_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.clock import FakeClock

FIRST = hop("a", token=b"t1", usage=usage_of(10, 4))


class Knowing(LongAnswer):
    """Its attempts know what they have used as soon as a piece has come, before it is told."""

    async def stream(self, call: Any, request: Any) -> AsyncIterator[Any]:
        """Play a hop."""
        known = usage_of(10, 3)
        known.quality = ESTIMATED
        async for event in super().stream(call, request):
            if event.HasField("delta"):
                call.outcome.attempts[-1].used = lambda: known
                event.delta.ClearField("usage")
            yield event


def run_of(clock: FakeClock, *second: Any) -> tuple[Run, Recorder]:
    """Return a run whose second hop plays these steps, and who hears of its end."""
    heard = Recorder()
    progress = ExecutionEvents(clock, heard.bus)
    upstream = Knowing(clock, {b"": [FIRST], b"t1": [[*second]]})
    return Run(clock, upstream, outside=[progress]), heard


async def test_a_later_hop_that_falls_silent(clock: FakeClock) -> None:
    """The failure has the whole hops, and what the attempt knows of the one under way."""
    run, heard = run_of(clock, *hop("b", "c")[:2], IdleTimeout("silent"))
    with pytest.raises(IdleTimeout) as failed:
        await run.stream()
    assert failed.value.failure is not None
    usage = failed.value.failure.usage
    assert (20, 7, ESTIMATED) == (
        usage.prompt_token_count,
        usage.candidates_token_count,
        usage.quality,
    )
    assert [usage.total_token_count] == [one.usage.total_token_count for one in heard.finished]  # type: ignore[union-attr]


async def test_a_later_hop_that_never_began(clock: FakeClock) -> None:
    """What the hop before it used is counted once."""
    run, _ = run_of(clock, IdleTimeout("silent"))
    with pytest.raises(IdleTimeout) as failed:
        await run.stream()
    assert failed.value.failure is not None
    assert (10, 4) == (
        failed.value.failure.usage.prompt_token_count,
        failed.value.failure.usage.candidates_token_count,
    )


async def test_a_caller_who_leaves_in_a_later_hop(clock: FakeClock) -> None:
    """Who watches is told of all that was used by then."""
    run, heard = run_of(clock, *hop("b", "c")[:2], 50)
    events = run.pipeline.stream(run.upstream.stream)(run.call, asked())

    async def read() -> None:
        async for _ in events:
            pass

    reading = asyncio.ensure_future(read())
    await clock.advance(1)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    (told,) = heard.finished
    assert told.cancelled
    assert told.usage is not None
    assert (20, 7) == (told.usage.prompt_token_count, told.usage.candidates_token_count)
