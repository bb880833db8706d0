"""Identical requests get the answer that there is.

Covers: policies/cache/fill.py
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from google.protobuf.duration_pb2 import Duration
from msgspec.structs import replace

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.config.sections.answers import CacheOptions
from gemini_backend.errors import (
    NotCached,
    PromptBlocked,
    RefusedByModelApi,
    StreamCut,
    UpstreamUnavailable,
)
from gemini_backend.policies.cache.fill import CacheFill
from gemini_backend.policies.cache.lookup import CacheLookup
from gemini_backend.policies.pipeline import Pipeline
from gemini_backend.principal import Principal
from gemini_backend.stores.memory_answers import MemoryAnswers
from gemini_backend.telemetry.metrics.listeners.cache_counts import CacheCounts
from tests.support.layers.inproc import collect
from tests.support.messages.calls import completed, delta, started
from tests.support.messages.events import heard_by
from tests.support.upstreams.counting_upstream import (
    GOOD,
    Upstream,
    answer_of,
    ask,
    caller,
    text_of,
)

if TYPE_CHECKING:
    from tests.support.clock import FakeClock

DOWN = UpstreamUnavailable("down")
STALE = pb.Fallback(allow_stale=True)


class Cached:
    """A cache round an upstream."""

    def __init__(self, clock: FakeClock, *steps: Any, **options: Any) -> None:
        self.clock = clock
        self.options = CacheOptions(**options)
        self.counts = CacheCounts()
        self.upstream = Upstream(clock, *steps)
        self.store = MemoryAnswers(100, 1_000_000, clock.now)
        cache = CacheLookup(lambda: self.options, self.store, clock, heard_by(self.counts))
        self.pipeline = Pipeline(cache, CacheFill(lambda: self.options, self.store, clock))

    def set(self, **options: Any) -> None:
        self.options = msgspec.structs.replace(self.options, **options)

    async def stream(self, request: Any, tenant: str = "default") -> list[Any]:
        call = caller(self.clock)
        call = replace(call, principal=Principal(tenant=tenant))
        self.call = call
        return await collect(self.pipeline.stream(self.upstream.stream)(call, request))

    async def unary(self, request: Any) -> Any:
        self.call = caller(self.clock)
        return await self.pipeline.unary(self.upstream.unary)(self.call, request)


def mode(number: int, **rest: Any) -> Any:
    return pb.CacheControl(mode=number, **rest)  # type: ignore[arg-type]


async def test_the_second_of_two_costs_nothing(clock: FakeClock) -> None:
    """A hit says so with its age, tells the whole in one delta, and calls nobody."""
    cached = Cached(clock, *GOOD)
    first = await cached.stream(ask())
    assert pb.CACHE_STATUS_MISS == first[0].started.cache_status
    assert cached.call.outcome.pays
    await clock.advance(2.5)
    second = await cached.stream(ask())
    assert (1, 3, "hello") == (cached.upstream.runs, len(second), text_of(second))
    begun = second[0].started
    assert (pb.CACHE_STATUS_HIT, 2, 500_000_000) == (
        begun.cache_status,
        begun.cache_age.seconds,
        begun.cache_age.nanos,
    )
    assert (7, False) == (
        second[2].completed.usage.total_token_count,
        second[2].completed.HasField("cost"),
    )
    assert not cached.call.outcome.pays
    assert {"hit": 1, "miss": 1} == cached.counts.exact.results


async def test_streams_and_whole_answers_share_their_entries(clock: FakeClock) -> None:
    """What one of Execute and Process was answered serves the other."""
    cached = Cached(clock, *GOOD)
    await cached.stream(ask())
    whole = await cached.unary(ask())
    assert (1, "hello", 7) == (
        cached.upstream.runs,
        text_of([whole]),
        whole.usage.total_token_count,
    )
    assert pb.CACHE_STATUS_HIT == whole.started.cache_status
    other = Cached(clock, answer_of("whole"))
    first = await other.unary(ask())
    assert pb.CACHE_STATUS_MISS == first.started.cache_status
    assert "whole" == text_of(await other.stream(ask()))
    assert 1 == other.upstream.runs


async def test_a_hit_is_the_callers_own(clock: FakeClock) -> None:
    """Whatever one caller's layers write into a hit, the next caller gets the answer unchanged."""
    cached = Cached(clock, *GOOD)
    await cached.stream(ask())
    for event in await cached.stream(ask()):
        event.Clear()
    assert "hello" == text_of(await cached.stream(ask()))


async def test_no_tenant_is_served_anothers_answer(clock: FakeClock) -> None:
    """The tenant is part of every key."""
    cached = Cached(clock, *GOOD)
    await cached.stream(ask(), "a")
    await cached.stream(ask(), "b")
    assert 2 == cached.upstream.runs


@pytest.mark.parametrize(
    ("setting", "temperature", "runs"),
    [("deterministic", 0.0, 1), ("deterministic", 0.5, 2), ("all", 0.5, 1), ("off", 0.0, 2)],
)
async def test_the_mode_says_what_is_kept(
    clock: FakeClock, setting: Any, temperature: float, runs: int
) -> None:
    """By default only what is deterministic enough is kept; the setting widens or ends that."""
    cached = Cached(clock, *GOOD, mode=setting)
    config = content.GenerationConfig(temperature=temperature)
    for _ in range(2):
        events = await cached.stream(ask(generation_config=config))
    assert runs == cached.upstream.runs
    looked = setting != "off" and (setting, temperature) != ("deterministic", 0.5)
    expected = pb.CACHE_STATUS_HIT if looked else pb.CACHE_STATUS_BYPASS
    assert expected == events[0].started.cache_status


async def test_bypass_neither_reads_nor_writes(clock: FakeClock) -> None:
    """With BYPASS every call is made, and leaves nothing behind."""
    cached = Cached(clock, *GOOD)
    events = await cached.stream(ask(cache_control=mode(pb.CACHE_MODE_BYPASS)))
    assert pb.CACHE_STATUS_BYPASS == events[0].started.cache_status
    assert (0, 1) == (cached.store.entries, cached.counts.exact.results["bypass"])


async def test_refresh_writes_without_reading(clock: FakeClock) -> None:
    """With REFRESH the answer is made anew and replaces the one that was there."""
    cached = Cached(clock, *GOOD)
    await cached.stream(ask())
    cached.upstream.steps = (started(), delta("new"), completed())
    await cached.stream(ask(cache_control=mode(pb.CACHE_MODE_REFRESH)))
    assert (2, "new") == (cached.upstream.runs, text_of(await cached.stream(ask())))
    assert 2 == cached.upstream.runs


async def test_only_if_cached_asks_nobody(clock: FakeClock) -> None:
    """With ONLY_IF_CACHED there is an answer at once, or a failure that says so."""
    cached = Cached(clock, *GOOD)
    only = ask(cache_control=mode(pb.CACHE_MODE_ONLY_IF_CACHED))
    with pytest.raises(NotCached, match="another cache_control"):
        await cached.stream(only)
    with pytest.raises(NotCached):
        await cached.unary(only)
    await cached.stream(ask())
    assert "hello" == text_of(await cached.stream(only))
    assert 1 == cached.upstream.runs
    cached.set(mode="off")
    with pytest.raises(NotCached, match="the cache is disabled"):
        await cached.stream(only)


async def test_an_answer_has_its_time(clock: FakeClock) -> None:
    """After the configured time an answer is not served any more."""
    cached = Cached(clock, *GOOD, ttl_seconds=10)
    await cached.stream(ask())
    await clock.advance(9.9)
    await cached.stream(ask())
    assert 1 == cached.upstream.runs
    await clock.advance(0.2)
    await cached.stream(ask())
    assert 2 == cached.upstream.runs


async def test_ttl_is_the_oldest_that_a_reader_takes(clock: FakeClock) -> None:
    """A reader's own ttl refuses what is older, and leaves it to others."""
    cached = Cached(clock, *GOOD, ttl_seconds=100)
    await cached.stream(ask())
    await clock.advance(5)
    young = ask(cache_control=pb.CacheControl(ttl=Duration(seconds=4)))
    assert pb.CACHE_STATUS_MISS == (await cached.stream(young))[0].started.cache_status


async def test_ttl_is_how_long_a_writer_wants_it_kept(clock: FakeClock) -> None:
    """A writer's own ttl is the time of its answer, up to the largest that is allowed."""
    cached = Cached(clock, *GOOD, ttl_seconds=10, max_ttl_seconds=50)
    await cached.stream(ask(cache_control=pb.CacheControl(ttl=Duration(seconds=1000))))
    await clock.advance(49)
    await cached.stream(ask())
    assert 1 == cached.upstream.runs
    await clock.advance(2)
    await cached.stream(ask())
    assert 2 == cached.upstream.runs


async def test_a_failed_stream_leaves_nothing(clock: FakeClock) -> None:
    """What was cut is not kept, and its failure is seen."""
    cached = Cached(clock, started(), delta("hel"), StreamCut("cut"))
    with pytest.raises(StreamCut):
        await cached.stream(ask())
    assert 0 == cached.store.entries


async def test_a_caller_who_leaves_leaves_nothing(clock: FakeClock) -> None:
    """A stream that its caller closes early is not kept, and is closed further in."""
    cached = Cached(clock, *GOOD)
    events: Any = cached.pipeline.stream(cached.upstream.stream)(caller(clock), ask())
    await anext(events)
    await events.aclose()
    assert (0, 1) == (cached.store.entries, cached.upstream.closed)


async def test_an_old_answer_stands_in_for_a_failure(clock: FakeClock) -> None:
    """Within its limit, and where the request allows it, an old answer comes marked as STALE."""
    cached = Cached(clock, *GOOD, ttl_seconds=10, stale_if_error_seconds=20)
    await cached.stream(ask())
    cached.upstream.steps = (DOWN,)
    await clock.advance(15)
    events = await cached.stream(ask(fallback=STALE))
    assert (pb.CACHE_STATUS_STALE, 15, "hello") == (
        events[0].started.cache_status,
        events[0].started.cache_age.seconds,
        text_of(events),
    )
    assert pb.CACHE_STATUS_STALE == (await cached.unary(ask(fallback=STALE))).started.cache_status
    assert 2 == cached.counts.exact.results["stale"]
    with pytest.raises(UpstreamUnavailable):
        await cached.stream(ask())
    cached.set(allow_stale=True)
    assert "hello" == text_of(await cached.stream(ask()))
    await clock.advance(16)
    with pytest.raises(UpstreamUnavailable):
        await cached.stream(ask(fallback=STALE))


@pytest.mark.parametrize("error", [PromptBlocked("no"), RefusedByModelApi("bad")])
async def test_an_old_answer_does_not_hide_a_verdict(clock: FakeClock, error: Exception) -> None:
    """Where the model refused the request itself, an old answer would be wrong."""
    cached = Cached(clock, *GOOD, ttl_seconds=10)
    await cached.stream(ask())
    cached.upstream.steps = (error,)
    await clock.advance(11)
    with pytest.raises(type(error)):
        await cached.stream(ask(fallback=STALE))


async def test_an_old_answer_never_follows_the_beginning_of_a_new_one(clock: FakeClock) -> None:
    """After the first event a failure is a failure."""
    cached = Cached(clock, *GOOD, ttl_seconds=10)
    await cached.stream(ask())
    cached.upstream.steps = (started(), delta("x"), StreamCut("cut"))
    await clock.advance(11)
    with pytest.raises(StreamCut):
        await cached.stream(ask(fallback=STALE))


async def test_hits_tell_what_they_saved(clock: FakeClock) -> None:
    """Tokens that a hit did not have to buy are counted."""
    usage = content.Usage(prompt_token_count=4, candidates_token_count=6, total_token_count=10)
    done = pb.Completed(finish_reason=content.FINISH_REASON_STOP, usage=usage)
    cached = Cached(clock, started(), delta("a"), pb.ExecuteResponse(completed=done))
    for _ in range(3):
        await cached.stream(ask())
    assert (8, 12) == (cached.counts.exact.saved.prompt, cached.counts.exact.saved.candidates)
    assert 2 / 3 == cached.counts.exact.hit_ratio


async def test_large_answers_are_handed_on_and_not_kept(clock: FakeClock) -> None:
    """An answer above the limit reaches its caller and leaves nothing."""
    cached = Cached(clock, started(), delta("x" * 3000), completed(), max_entry_kb=1)
    assert 3000 == len(text_of(await cached.stream(ask())))
    assert 0 == cached.store.entries
