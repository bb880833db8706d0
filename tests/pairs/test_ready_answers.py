"""An answer out of the cache is all there at once: layers that know it spare themselves a loop."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.call import Call, FixedBudget
from gemini_backend.config.sections.answers import CacheOptions, JournalOptions
from gemini_backend.config.sections.models import ModelsOptions
from gemini_backend.errors import NotCached, UnknownResource
from gemini_backend.models.catalogue import load
from gemini_backend.models.listing import ModelListing
from gemini_backend.models.registry import Registry
from gemini_backend.policies.base import opened
from gemini_backend.policies.cache.fill import CacheFill
from gemini_backend.policies.cache.lookup import CacheLookup
from gemini_backend.policies.checks.model_check import ModelCheck
from gemini_backend.policies.outcome.execution_events import ExecutionEvents
from gemini_backend.policies.outcome.pricing import Pricing
from gemini_backend.policies.pipeline import Pipeline
from gemini_backend.policies.sharing.journal import Journal
from gemini_backend.principal import Principal
from gemini_backend.stores.memory_answers import MemoryAnswers
from gemini_backend.telemetry.metrics.listeners.cache_counts import CacheCounts
from tests.support.layers.inproc import collect
from tests.support.layers.recorder import Recorder
from tests.support.messages.calls import EXECUTE
from tests.support.messages.events import heard_by
from tests.support.upstreams.counting_upstream import GOOD, Upstream, ask

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.clock import FakeClock

# gone on the day after: until then a warning
MODEL, NOW = "models/gemini-2.5-flash", datetime(2026, 11, 23, tzinfo=UTC)
ONLY = pb.CacheControl(mode=pb.CACHE_MODE_ONLY_IF_CACHED)


class Foreign:
    """Somebody's policy that iterates whatever it is given."""

    async def unary(self, call: Call, request: Any, proceed: Any, /) -> Any:
        return await proceed(call, request)

    async def stream(self, call: Call, request: Any, proceed: Any, /) -> AsyncIterator[Any]:
        async with opened(proceed(call, request)) as events:
            async for event in events:
                yield event


async def nobody() -> list[Any]:
    return []


class Hits:
    """The layers between the edge and the cache; `foreign` stands so many places further in."""

    def __init__(self, clock: FakeClock, foreign: int | None = None, **journal: Any) -> None:
        self.clock = clock
        self.counts = CacheCounts()
        self.heard = Recorder(heard_by(self.counts))
        registry = Registry(load(), ModelListing(nobody, clock, 100), NOW.timestamp)
        self.store = MemoryAnswers(100, 1_000_000, clock.now)
        self.upstream = Upstream(clock, *GOOD)
        options = CacheOptions()
        self.journal = Journal(lambda: JournalOptions(**journal), clock, self.heard.bus)
        policies: list[Any] = [
            self.journal,
            ExecutionEvents(clock, self.heard.bus),
            Pricing(registry),
            ModelCheck(ModelsOptions, registry),
            CacheLookup(lambda: options, self.store, clock, self.heard.bus),
            CacheFill(lambda: options, self.store, clock),
        ]
        if foreign is not None:
            policies.insert(foreign, Foreign())
        self.run = Pipeline(*policies).stream(self.upstream.stream)
        self.opens = Pipeline(*policies).open(self.upstream.stream)

    def call(self, name: str, tenant: str = "default") -> Call:
        now = self.clock.now()
        return Call(
            method=EXECUTE,
            execution=name,
            arrived=now,
            budget=FixedBudget(now + 60),
            principal=Principal(tenant=tenant),
        )

    def ask(self, name: str, **fields: Any) -> Any:
        return self.run(self.call(name), ask(model=MODEL, **fields))


@pytest.mark.parametrize("place", range(6))
async def test_a_layer_that_knows_no_better_changes_nothing(clock: FakeClock, place: int) -> None:
    """Wherever a foreign policy iterates it, the caller gets the same events of a hit."""
    plain, mixed = Hits(clock), Hits(clock, place)
    for hits in (plain, mixed):
        await collect(hits.ask("e1"))
    expected, actual = [await collect(hits.ask("e2")) for hits in (plain, mixed)]
    assert expected == actual
    assert [1, 2, 3] == [event.sequence for event in actual]
    assert {"e2"} == {event.execution for event in actual}
    assert pb.CACHE_STATUS_HIT == actual[0].started.cache_status
    assert ["MODEL_DEPRECATED"] == [one.code for one in actual[0].started.warnings]
    assert 1 == mixed.upstream.runs


async def test_a_hit_comes_whole_through_every_layer(clock: FakeClock) -> None:
    """Its events are all there when it is opened: there is nothing that a layer waits for."""
    hits = Hits(clock)
    await collect(hits.ask("e1"))
    stream = await hits.opens(hits.call("e2"), ask(model=MODEL))
    assert (True, [1, 2, 3]) == (stream.whole, [event.sequence for event in stream.ahead])
    assert ["e1", "e2"] == [one.execution for one in hits.heard.finished]


async def test_a_hit_is_told_like_any_execution(clock: FakeClock) -> None:
    """Listeners hear of its end, its model and its usage, and that nobody paid."""
    hits = Hits(clock)
    await collect(hits.ask("e1"))
    await collect(hits.ask("e2"))
    first, second = hits.heard.finished
    assert (True, False) == (first.pays, second.pays)
    assert first.usage == second.usage
    assert ("OK", "", 0.0) == (second.code, second.reason, second.first_token_seconds)
    assert {"hit": 1, "miss": 1} == hits.counts.exact.results


async def test_a_hit_can_be_resumed(clock: FakeClock) -> None:
    """Who loses the connection within a hit goes on where it broke off; nobody else does."""
    hits = Hits(clock)
    await collect(hits.ask("e1"))
    whole = await collect(hits.ask("e2"))
    asked = pb.ExecuteRequest(resume=pb.Resume(execution="e2", after_sequence=1))
    assert whole[1:] == await collect(hits.run(hits.call("e3"), asked))
    with pytest.raises(UnknownResource):
        await collect(hits.run(hits.call("e4", "another"), asked))


async def test_the_journal_forgets_hits_like_the_rest(clock: FakeClock) -> None:
    """Its bounds hold for what is kept whole: number and time."""
    hits = Hits(clock, max_executions=3, keep_seconds=10)
    for number in range(9):
        await collect(hits.ask(f"e{number}"))
    store = hits.journal.store
    assert (3, 6) == (len(store), store.evicted)
    await clock.advance(11)
    assert (0, 0) == (len(store), store.bytes)


async def test_a_refusal_before_anything_began_is_told_too(clock: FakeClock) -> None:
    """An execution that a layer refuses at once has begun and ended for the listeners."""
    hits = Hits(clock)
    with pytest.raises(NotCached) as refused:
        await collect(hits.ask("e1", cache_control=ONLY))
    assert [refused.value.reason] == [one.reason for one in hits.heard.finished]
