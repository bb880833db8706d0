"""Every two layers, one inside the other, against what they should do together.

What is expected of a pair follows from what each of the two is for, in a few lines; the upstream
counts attempts, the test counts executions.
"""

from __future__ import annotations

import asyncio
from itertools import combinations
from typing import TYPE_CHECKING, Any

import pytest

from gemini_backend.errors import (
    FirstTokenTimeout,
    KeyRefused,
    ServiceError,
    StreamCut,
    UpstreamUnavailable,
)
from tests.support.clock import settle
from tests.support.layers.every_layer import LAYERS, NAMES
from tests.support.layers.some_layers import SomeLayers
from tests.support.messages.calls import completed, delta, started
from tests.support.upstreams.counting_upstream import ask
from tests.support.upstreams.scripted_attempts import ANSWER, Attempts, finish, texts

if TYPE_CHECKING:
    from tests.support.clock import FakeClock

DOWN = (UpstreamUnavailable("down"),)
REFUSED = (KeyRefused("no such key"),)
SLOW_TO_BEGIN = (30, *ANSWER)
CUT = (started(), delta("a"), StreamCut("cut"))
PACED = (started(), delta("a"), 1, delta("b"), 1, completed())
PAIRS = [pytest.param(set(pair), id="-".join(pair)) for pair in combinations(NAMES, 2)]


class Pair(SomeLayers):
    """Two layers in their order in front of an upstream that plays one script per attempt."""

    def __init__(self, clock: FakeClock, names: set[str], *plays: tuple[Any, ...]) -> None:
        super().__init__(clock, names, Attempts(clock, *plays), ask)


async def outcome(work: Any, clock: FakeClock) -> str:
    """Return the text that came, or the failure's name."""
    try:
        events = await finish(clock, work)
    except ServiceError as error:
        return type(error).__name__
    return texts(events) if isinstance(events, list) else "whole"


def test_no_layer_is_made_for_nothing() -> None:
    """Layers that are made in a way of their own are layers of the chain."""
    assert [] == [name for name in LAYERS if name not in NAMES]


@pytest.mark.parametrize("pair", PAIRS)
async def test_what_goes_well(clock: FakeClock, pair: set[str]) -> None:
    """One execution, one attempt, the whole text once, and nothing held afterwards."""
    for kind in ("stream", "whole"):
        case = Pair(clock, pair, PACED)
        expected = "ab" if kind == "stream" else "whole"
        assert expected == await outcome(getattr(case, kind)(), clock)
        assert (1, True) == (case.upstream.count, case.at_rest())


@pytest.mark.parametrize("pair", PAIRS)
async def test_a_failure_before_the_first_piece(clock: FakeClock, pair: set[str]) -> None:
    """Who may try again does, once; all others tell the failure as it is."""
    helped = bool(pair & {"retry", "fallback"})
    for kind in ("stream", "whole"):
        case = Pair(clock, pair, DOWN, ANSWER)
        good = "ab" if kind == "stream" else "whole"
        expected = (good, 2) if helped else ("UpstreamUnavailable", 1)
        seen = await outcome(getattr(case, kind)(), clock)
        assert expected == (seen, case.upstream.count)
        assert case.at_rest()


@pytest.mark.parametrize("pair", PAIRS)
async def test_a_failure_that_stays(clock: FakeClock, pair: set[str]) -> None:
    """Three tries for each model in line, and the first model's failure at the end."""
    tries = (3 if "retry" in pair else 1) * (2 if "fallback" in pair else 1)
    case = Pair(clock, pair, DOWN)
    expected = ("UpstreamUnavailable", tries)
    assert expected == (await outcome(case.stream(), clock), case.upstream.count)
    assert case.at_rest()


@pytest.mark.parametrize("pair", PAIRS)
async def test_a_refused_key(clock: FakeClock, pair: set[str]) -> None:
    """Another key is the only remedy: no wait, no other model."""
    case = Pair(clock, pair, REFUSED, ANSWER)
    expected = ("ab", 2) if "keys" in pair else (KeyRefused.__name__, 1)
    assert expected == (await outcome(case.stream(), clock), case.upstream.count)
    assert case.at_rest()


@pytest.mark.parametrize("pair", PAIRS)
async def test_an_answer_that_is_slow_to_begin(clock: FakeClock, pair: set[str]) -> None:
    """A hedge gives it company, a timeout ends it, and who may tries again."""
    case = Pair(clock, pair, SLOW_TO_BEGIN, ANSWER)
    expected = ("ab", 1)
    if "hedge" in pair:
        expected = ("ab", 2)
    elif "attempt_timeouts" in pair:
        again = pair & {"retry", "fallback"}
        expected = ("ab", 2) if again else (FirstTokenTimeout.__name__, 1)
    assert expected == (await outcome(case.stream(), clock), case.upstream.count)
    assert case.at_rest()


@pytest.mark.parametrize("pair", PAIRS)
async def test_a_failure_after_the_first_piece(clock: FakeClock, pair: set[str]) -> None:
    """Nothing is switched: one attempt, what came stays, and the failure is told."""
    case = Pair(clock, pair, CUT, ANSWER)
    events = case.pipeline.stream(case.upstream.stream)(case.call("e1"), ask())
    seen: list[Any] = []

    async def read() -> None:
        async for event in events:
            seen.append(event)  # noqa: PERF401 - what came before the failure counts

    with pytest.raises(StreamCut):
        await finish(clock, read())
    assert ("a", 1, True) == (texts(seen), case.upstream.count, case.at_rest())


@pytest.mark.parametrize("pair", PAIRS)
async def test_the_same_again(clock: FakeClock, pair: set[str]) -> None:
    """Kept answers are given again where one layer keeps and the other looks."""
    case = Pair(clock, pair, ANSWER)
    kept = "cache_fill" in pair and pair & {"cache", "semantic_cache"}
    assert ["ab", "ab"] == [await outcome(case.stream(name), clock) for name in ("e1", "e2")]
    assert (1 if kept else 2, True) == (case.upstream.count, case.at_rest())


@pytest.mark.parametrize("pair", PAIRS)
async def test_the_same_at_once(clock: FakeClock, pair: set[str]) -> None:
    """Two that ask the same at the same moment share one attempt where there is single flight."""
    case = Pair(clock, pair, PACED)
    both = asyncio.gather(case.stream("e1"), case.stream("e2"))
    assert ["ab", "ab"] == [texts(events) for events in await finish(clock, both)]
    assert (1 if "coalesce" in pair else 2, True) == (case.upstream.count, case.at_rest())


@pytest.mark.parametrize("seen", range(4))
@pytest.mark.parametrize("pair", PAIRS)
async def test_a_caller_who_leaves(clock: FakeClock, pair: set[str], seen: int) -> None:
    """After however many events: upstream is closed at once, and nothing is held."""
    case = Pair(clock, pair, PACED)
    events = case.pipeline.stream(case.upstream.stream)(case.call("e1"), ask())

    async def read() -> None:
        for _ in range(seen):
            await anext(events)
        await asyncio.Event().wait()

    reading = asyncio.ensure_future(read())
    await clock.advance(5)
    await settle()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await events.aclose()
    await settle()
    assert (min(seen, 1), True) == (case.upstream.count, case.at_rest())
