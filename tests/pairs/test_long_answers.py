"""Every two layers round an answer of several hops: one execution for all of them.

What each layer does for an answer of one request it does for a long one; what makes attempts does
so hop by hop. The upstream counts requests by their tokens, the test counts executions.
"""

from __future__ import annotations

import asyncio
from itertools import combinations
from typing import TYPE_CHECKING, Any

import pytest

from gemini_backend.errors import KeyRefused, StreamCut, UpstreamUnavailable
from tests.support.clock import settle
from tests.support.layers.every_layer import NAMES
from tests.support.layers.some_layers import SomeLayers
from tests.support.upstreams.hop_upstream import (
    CONTINUATION,
    LongAnswer,
    asked,
    hop,
    kinds,
    said,
    text_of,
    usage_of,
)
from tests.support.upstreams.scripted_attempts import finish

if TYPE_CHECKING:
    from tests.support.clock import FakeClock

OTHERS = [name for name in NAMES if name != "continuation"]
PAIRS = [pytest.param(set(pair), id="-".join(pair)) for pair in combinations(OTHERS, 2)]
FIRST = hop("a", "b", token=b"t1", usage=usage_of(10, 4))
LAST = hop("c", usage=usage_of(10, 2))
WHOLE = {b"": [FIRST], b"t1": [LAST]}
HALF = {b"": [hop("a", reason=CONTINUATION, usage=usage_of(10, 4))]}


class Trio(SomeLayers):
    """Two layers and the continuation in their order in front of an upstream of hops."""

    def __init__(
        self, clock: FakeClock, names: set[str], plays: dict[bytes, list[list[Any]]]
    ) -> None:
        super().__init__(clock, names | {"continuation"}, LongAnswer(clock, plays), asked)


@pytest.mark.parametrize("pair", PAIRS)
async def test_what_goes_well(clock: FakeClock, pair: set[str]) -> None:
    """Two requests, one execution: the text once, one start, one end, the sum of usage."""
    trio = Trio(clock, pair, WHOLE)
    events = await finish(clock, trio.stream())
    names = kinds(events)
    assert ("abc", 1, 1) == (said(events), names.count("started"), names.count("completed"))
    assert (1, 20) == (
        events[-1].completed.continuations,
        events[-1].completed.usage.prompt_token_count,
    )
    assert ([b"", b"t1"], True) == (trio.upstream.tokens, trio.at_rest())
    trio = Trio(clock, pair, WHOLE)
    answer = await finish(clock, trio.whole())
    assert ("abc", 1, 20) == (
        text_of(answer),
        answer.continuations,
        answer.usage.prompt_token_count,
    )
    assert ([b"", b"t1"], True) == (trio.upstream.tokens, trio.at_rest())


@pytest.mark.parametrize("pair", PAIRS)
async def test_a_later_hop_that_fails_at_first(clock: FakeClock, pair: set[str]) -> None:
    """Who may try again does so for that hop alone; no other model is asked."""
    trio = Trio(clock, pair, {b"": [FIRST], b"t1": [[UpstreamUnavailable("down")], LAST]})
    if "retry" in pair:
        assert "abc" == said(await finish(clock, trio.stream()))
        assert [b"", b"t1", b"t1"] == trio.upstream.tokens
    else:
        with pytest.raises(UpstreamUnavailable) as failed:
            await finish(clock, trio.stream())
        assert failed.value.failure is not None
        assert b"t1" == failed.value.failure.continuation_token
        assert [b"", b"t1"] == trio.upstream.tokens
    assert trio.at_rest()


@pytest.mark.parametrize("pair", PAIRS)
async def test_a_later_hop_that_breaks_off(clock: FakeClock, pair: set[str]) -> None:
    """What was handed on is not asked for again; the failure carries token and usage of all."""
    broken = [*hop("c", "d", usage=usage_of(10, 2))[:2], StreamCut("cut")]
    trio = Trio(clock, pair, {b"": [FIRST], b"t1": [broken]})
    seen: list[Any] = []

    async def read() -> None:
        run = trio.pipeline.stream(trio.upstream.stream)
        async for event in run(trio.call("e1"), asked()):
            seen.append(event)  # noqa: PERF401 - what came before the failure counts

    with pytest.raises(StreamCut) as failed:
        await finish(clock, read())
    told = failed.value.failure
    assert told is not None
    assert ("abc", [b"", b"t1"], True) == (said(seen), trio.upstream.tokens, trio.at_rest())
    assert (b"t1", 20) == (told.continuation_token, told.usage.prompt_token_count)


@pytest.mark.parametrize("pair", PAIRS)
async def test_a_refused_key_of_a_later_hop(clock: FakeClock, pair: set[str]) -> None:
    """A key of another project does not know the token: nobody else is asked."""
    trio = Trio(clock, pair, {b"": [FIRST], b"t1": [[KeyRefused("no")], LAST]})
    with pytest.raises(KeyRefused):
        await finish(clock, trio.stream())
    assert ([b"", b"t1"], True) == (trio.upstream.tokens, trio.at_rest())


@pytest.mark.parametrize("pair", PAIRS)
async def test_the_same_again(clock: FakeClock, pair: set[str]) -> None:
    """A long answer that is whole is kept as one, and given again as one, from either kind."""
    kept = "cache_fill" in pair and pair & {"cache", "semantic_cache"}
    times = 1 if kept else 3
    trio = Trio(clock, pair, WHOLE)
    events = [await finish(clock, trio.stream(name)) for name in ("e1", "e2")]
    answer = await finish(clock, trio.whole("e3"))
    assert ["abc", "abc", "abc"] == [*map(said, events), text_of(answer)]
    assert [1, 1, 1] == [
        *(one[-1].completed.continuations for one in events),
        answer.continuations,
    ]
    assert ([b"", b"t1"] * times, True) == (trio.upstream.tokens, trio.at_rest())


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("pair", PAIRS)
async def test_half_an_answer_is_never_kept(clock: FakeClock, pair: set[str], whole: bool) -> None:
    """What ends with CONTINUATION is handed on with a warning, and asked for anew the next time."""
    trio = Trio(clock, pair, HALF)
    for name in ("e1", "e2"):
        if whole:
            answer = await finish(clock, trio.whole(name))
            warnings, text = answer.started.warnings, text_of(answer)
        else:
            events = await finish(clock, trio.stream(name))
            warnings, text = events[-1].completed.warnings, said(events)
        assert ("a", ["CONTINUATION_NOT_FOLLOWED"]) == (text, [one.code for one in warnings])
    assert ([b"", b""], True) == (trio.upstream.tokens, trio.at_rest())


@pytest.mark.parametrize("pair", PAIRS)
async def test_the_same_at_once(clock: FakeClock, pair: set[str]) -> None:
    """Two that ask the same share all hops where there is single flight, and one pays."""
    paced = {b"": [[1, *FIRST]], b"t1": [[1, *LAST]]}
    trio = Trio(clock, pair, paced)
    both = asyncio.gather(trio.stream("e1"), trio.stream("e2"))
    assert ["abc", "abc"] == [said(events) for events in await finish(clock, both)]
    runs = 1 if "coalesce" in pair else 2
    assert (sorted([b"", b"t1"] * runs), True) == (sorted(trio.upstream.tokens), trio.at_rest())


@pytest.mark.parametrize("leaves", [False, True])
@pytest.mark.parametrize("pair", [pair for pair in PAIRS if "coalesce" in pair.values[0]])
async def test_another_comes_between_two_hops(
    clock: FakeClock, pair: set[str], leaves: bool
) -> None:
    """While the next hop opens, who reads alone is parted from the run, which goes on for both."""
    trio = Trio(clock, pair, {b"": [FIRST], b"t1": [[8, *LAST]]})
    first = asyncio.ensure_future(trio.stream("e1"))
    await clock.advance(1)
    second = asyncio.ensure_future(trio.stream("e2"))
    await settle()
    if leaves:
        first.cancel()
    else:
        assert "abc" == said(await finish(clock, first))
    events = await finish(clock, second)
    assert ("abc", 1) == (said(events), events[-1].completed.continuations)
    # a hedge asks for the next hop once more, nobody for the first one
    assert (1, True) == (trio.upstream.tokens.count(b""), trio.at_rest())


@pytest.mark.parametrize("pair", PAIRS)
async def test_a_caller_who_leaves_between_two_hops(clock: FakeClock, pair: set[str]) -> None:
    """The request for the next hop is stopped while it opens."""
    trio = Trio(clock, pair, {b"": [FIRST], b"t1": [[10, *LAST]]})
    reading = asyncio.ensure_future(trio.stream())
    await clock.advance(1)
    assert 1 == trio.upstream.open
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await settle()
    await clock.advance(100)
    assert ([b"", b"t1"], True) == (trio.upstream.tokens, trio.at_rest())


@pytest.mark.parametrize("seen", [0, 3])
@pytest.mark.parametrize("pair", PAIRS)
async def test_a_caller_who_leaves(clock: FakeClock, pair: set[str], seen: int) -> None:
    """After however many events: nothing is held, and no hop is asked for behind the one read."""
    slow = {b"": [[*FIRST, 50]], b"t1": [[*LAST[:2], 50, LAST[2]]]}
    trio = Trio(clock, pair, slow)
    events = trio.pipeline.stream(trio.upstream.stream)(trio.call("e1"), asked())

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
    await events.aclose()  # type: ignore[attr-defined] # a generator
    await settle()
    await clock.advance(100)
    assert ([b""] * min(seen, 1), True) == (trio.upstream.tokens, trio.at_rest())
