"""What those who watch see of the policies."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.errors import (
    CircuitOpen,
    KeyRefused,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    ServiceError,
    Throttled,
)
from gemini_backend.policies.pipeline import Pipeline
from gemini_backend.principal import Principal
from gemini_backend.stores.vectors import Vectors
from gemini_backend.telemetry.component_status import CircuitState, KeyState
from tests.support.clock import settle
from tests.support.layers.alone import Alone
from tests.support.layers.inproc import collect
from tests.support.layers.observed_policies import overview_of
from tests.support.messages.calls import make_call
from tests.support.upstreams.hop_upstream import hop, long_answer
from tests.support.upstreams.scripted_attempts import (
    ANSWER,
    DOWN,
    REQUEST,
    Attempts,
    finish,
)

if TYPE_CHECKING:
    from gemini_backend.api.overview import Overview
    from tests.support.clock import FakeClock


def values(overview: Overview, name: str) -> dict[tuple[str, ...], Any]:
    """Return a metric's values by its labels."""
    (family,) = [one for one in overview.families() if one.name == name]
    return dict(family.values)


async def ask(
    clock: FakeClock, overview: Overview, upstream: Attempts, times: int = 1, request: Any = REQUEST
) -> list[type[ServiceError] | None]:
    """Run executions through the policies, one after the other; return how each ended."""
    o = overview
    policies = (o.rate_limit, o.fallback, o.hedge, o.retry, o.breaker, o.quota, o.admission)
    ends: list[type[ServiceError] | None] = []
    for _ in range(times):
        run = Pipeline(*policies).stream(upstream.stream)
        try:
            await finish(clock, collect(run(make_call(clock), request)))
            ends.append(None)
        except ServiceError as error:
            ends.append(type(error))
    return ends


def test_every_figure_can_be_told_at_any_time(clock: FakeClock) -> None:
    """Before anything has happened each figure is there, each name once, none negative."""
    figures = list(overview_of(clock).families())
    names = [one.name for one in figures]
    assert sorted(set(names)) == sorted(names)
    told = [v for one in figures if one.kind != "histogram" for v in one.values.values()]
    assert all(value >= 0 for value in told)


async def test_circuits_are_told(clock: FakeClock) -> None:
    """A model whose circuit is open counts 1 there, 0 elsewhere, and so do its refusals."""
    overview = overview_of(clock, BREAKER__MINIMUM_CALLS="2", RETRY__ENABLED="false")
    ends = await ask(clock, overview, Attempts(clock, DOWN), times=5)
    assert [CircuitOpen] * 3 == ends[2:]
    states = {state: n for (model, state), n in values(overview, "circuits").items()}
    assert {"open": 1, "closed": 0, "half_open": 0} == states
    assert 3 == values(overview, "circuit_rejected_calls")["models/a",]
    (circuit,) = overview.component_status().circuits
    assert (CircuitState.OPEN, "UPSTREAM_UNAVAILABLE", 1) == (
        circuit.state,
        circuit.reason,
        circuit.opened,
    )


async def test_retries_are_told_by_what_became_of_them(clock: FakeClock) -> None:
    """Retries made, and failures for which there was no further one."""
    overview = overview_of(clock)
    await ask(clock, overview, Attempts(clock, DOWN))
    assert {("made",): 5, ("out_of_attempts",): 1, ("out_of_budget",): 0, ("out_of_time",): 0} == (
        values(overview, "retries")
    )


async def test_fallbacks_and_hedges_are_told(clock: FakeClock) -> None:
    """Switches to a further model; second attempts, and those that won."""
    request = pb.ExecuteRequest(model="models/a", fallback=pb.Fallback(models=["b"]))
    overview = overview_of(clock, RETRY__ENABLED="false")
    await ask(clock, overview, Attempts(clock, DOWN, ANSWER), request=request)
    assert {(): 1} == values(overview, "fallback_switches")
    overview = overview_of(clock, HEDGE__ENABLED="true", HEDGE__DELAY_MS="100")
    await ask(clock, overview, Attempts(clock, (9, *ANSWER), ANSWER))
    assert ({(): 1}, {(): 1}) == (values(overview, "hedges_sent"), values(overview, "hedges_won"))


async def test_long_answers_are_told(clock: FakeClock) -> None:
    """Further requests, and answers that were not followed to their end, by why."""
    overview = overview_of(clock, EXECUTION__MAX_CONTINUATIONS="1")
    upstream = long_answer(clock, hop("a", token=b"t1"), hop("b", token=b"t2"))
    run = Pipeline(overview.continuation).stream(upstream.stream)
    await collect(run(make_call(clock), REQUEST))
    assert {(): 1} == values(overview, "continuations")
    assert {("max_continuations",): 1} == {
        why: count for why, count in values(overview, "continuations_ended").items() if count
    }


async def test_quotas_are_told(clock: FakeClock) -> None:
    """What is left, what it holds, whether upstream has closed it, and who was refused."""
    overview = overview_of(clock, QUOTA__REQUESTS_PER_MINUTE="10", QUOTA__MAX_WAIT_SECONDS="0")
    key = ("models/a", "requests_per_minute")
    await ask(clock, overview, Attempts(clock, ANSWER), times=3)
    assert (7, 10, 0) == tuple(
        values(overview, f"quota_{name}")[key] for name in ("available", "capacity", "blocked")
    )
    ends = await ask(clock, overview, Attempts(clock, (Throttled("x", retry_after=900.0),)), 2)
    assert [Throttled, QuotaExhausted] == ends
    assert 1 == values(overview, "quota_blocked")[key]
    assert 1 == values(overview, "quota_refusals")[()]
    await clock.advance(901)
    assert 0 == values(overview, "quota_blocked")[key]


async def test_refusals_by_a_callers_own_limit_are_told(clock: FakeClock) -> None:
    """Each counts."""
    overview = overview_of(clock, RATE_LIMIT__REQUESTS_PER_MINUTE="1")
    assert [None, RateLimited] == await ask(clock, overview, Attempts(clock, ANSWER), times=2)
    assert {(): 1} == values(overview, "rate_limit_refusals")


async def test_slots_and_the_queue_are_told(clock: FakeClock) -> None:
    """Who runs, who waits at which priority, who was refused and why, and how long it took."""
    overview = overview_of(clock, ADMISSION__MAX_CONCURRENT_REQUESTS="1", ADMISSION__MAX_QUEUED="1")
    upstream = Attempts(clock, (3, *ANSWER))
    batch = pb.ExecuteRequest(model="models/a", priority=pb.PRIORITY_BATCH)
    tasks, began = [], clock.now()
    for request in (REQUEST, batch, batch):
        call = make_call(clock)
        call = replace(call, principal=Principal("t"))
        events = Alone(overview.admission).stream(call, request, upstream.stream)
        tasks.append(asyncio.ensure_future(collect(events)))
        await settle()
    with pytest.raises(Overloaded):
        await tasks[2]
    queued = values(overview, "admission_queued")
    assert {("interactive",): 0, ("default",): 0, ("batch",): 1} == queued
    assert (1, 1) == (
        values(overview, "admission_running")[()],
        values(overview, "admission_limit")[()],
    )
    assert 1 == values(overview, "admission_refusals")["queue_full",]
    await finish(clock, asyncio.gather(*tasks[:2]))
    waits: Any = values(overview, "admission_wait_seconds")[()]
    assert (1, 3.0) == (sum(waits.counts), pytest.approx(waits.sum, abs=0.01))
    state = overview.admission.state()
    assert (1, began, 1) == (state.refused, state.refused_at, state.max_queued)


async def test_no_limit_is_told_as_none(clock: FakeClock) -> None:
    """A gauge that has no value is absent, rather than 0 or a very large number."""
    overview = overview_of(clock, ADMISSION__MAX_CONCURRENT_REQUESTS="0")
    assert {} == values(overview, "admission_limit")


async def test_keys_are_told_by_state(clock: FakeClock) -> None:
    """How many can be used, and how many cannot."""
    overview = overview_of(clock)
    key = overview.keys.take("models/a")
    overview.keys.note(key, "models/a", KeyRefused("no"))
    told = values(overview, "upstream_keys")
    assert {"invalid"} == {state for (state,), count in told.items() if count}
    assert [KeyState.INVALID] == [key.state for key in overview.component_status().keys]


async def test_the_journal_and_the_cache_are_told(clock: FakeClock) -> None:
    """Executions kept and their bytes; look-ups by what came of them."""
    overview = overview_of(clock)
    assert overview.journal is not None
    upstream = Attempts(clock, ANSWER)
    await collect(Alone(overview.journal).stream(make_call(clock), REQUEST, upstream.stream))
    assert 1 == values(overview, "journal_executions")[()]
    assert 0 < values(overview, "journal_bytes")[()]
    overview.counts.exact.results.update(hit=3, miss=1)
    lookups = values(overview, "cache_lookups")
    assert (3, 1) == (lookups["exact", "hit"], lookups["exact", "miss"])


def test_a_semantic_cache_is_told_beside_the_exact_one(clock: FakeClock) -> None:
    """Its look-ups, entries and savings have its name."""
    semantic: Any = SimpleNamespace(vectors=Vectors(4, 10))
    overview = overview_of(clock, semantic=semantic)
    overview.counts.semantic.results.update(hit=2, miss=1)
    overview.counts.semantic.saved.prompt = 7
    assert 2 == values(overview, "cache_lookups")["semantic", "hit"]
    assert {("exact",): 0, ("semantic",): 0} == values(overview, "cache_entries")
    assert {("exact",): 0, ("semantic",): 7} == values(overview, "cache_saved_tokens")


async def test_the_journal_says_what_went_for_want_of_room(clock: FakeClock) -> None:
    """Executions that went are counted; when one still ran, that is told too."""
    overview = overview_of(clock, JOURNAL__MAX_EXECUTIONS="1")
    assert overview.journal is not None
    upstream = Attempts(clock, ANSWER)
    for name in ("one", "two"):
        call = make_call(clock)
        call = replace(call, execution=name)
        await collect(Alone(overview.journal).stream(call, REQUEST, upstream.stream))
    state = overview.journal.store.state()
    assert (1, 1, None) == (state.executions, state.evicted, state.cut_at)
    running = []
    for name in ("three", "four"):
        call = make_call(clock)
        call = replace(call, execution=name)
        slow = Attempts(clock, (9, *ANSWER))
        events = Alone(overview.journal).stream(call, REQUEST, slow.stream)
        running.append(asyncio.ensure_future(collect(events)))
        await settle()
    assert clock.now() == overview.journal.store.state().cut_at
    await finish(clock, asyncio.gather(*running))
