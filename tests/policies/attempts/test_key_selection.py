"""Each attempt goes out with a key that may be used, and a dead or spent one costs no call."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from gemini_backend.call import KEY, UpstreamKey
from gemini_backend.config.sections.flow import QuotaOptions
from gemini_backend.config.sections.resilience import BreakerOptions, RetryOptions
from gemini_backend.errors import (
    AccountLimited,
    DailyQuotaExhausted,
    KeyRefused,
    NoUpstreamKey,
    ProjectRefused,
    RefusedByModelApi,
    ServiceError,
    StreamCut,
    Throttled,
    UnknownResource,
    UpstreamReply,
    UpstreamUnavailable,
)
from gemini_backend.policies.attempts.breaker import Breaker, by_model_and_key
from gemini_backend.policies.attempts.key_pool import KeyPool
from gemini_backend.policies.attempts.key_selection import KeySelection
from gemini_backend.policies.attempts.retry import Retry
from gemini_backend.policies.flow.quota import Quota
from gemini_backend.policies.pipeline import Pipeline
from gemini_backend.telemetry.component_status import KeyState
from gemini_backend.telemetry.events import KeyChanged
from tests.support.clock import FakeClock, settle
from tests.support.layers.inproc import collect
from tests.support.layers.recorder import Recorder
from tests.support.messages.calls import completed, delta, make_call, started
from tests.support.upstreams.scripted_attempts import REQUEST

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

REST = 300.0


def keys(*projects: str) -> list[UpstreamKey]:
    return [UpstreamKey(f"k{index}", name) for index, name in enumerate(projects)]


class Upstream:
    """Answers each key by its own script: an error, or an answer after some seconds."""

    def __init__(self, clock: FakeClock, key_pool: KeyPool, **plays: Any) -> None:
        self.clock = clock
        self.key_pool = key_pool
        self.plays = plays
        self.asked: list[str] = []
        self.times: list[float] = []

    async def stream(self, _call: Any, request: Any) -> AsyncIterator[Any]:
        key = KEY.get()
        assert key is not None
        self.asked.append(key.key_id)
        self.times.append(self.clock.now())
        play = self.plays.get(key.key_id, 0)
        failed: ServiceError | None = play if isinstance(play, ServiceError) else None
        try:
            if failed is None:
                if play:
                    await self.clock.sleep(play)
                yield started()
                yield delta("x")
                yield completed()
            elif isinstance(failed, StreamCut):
                yield started()
                raise failed
            else:
                raise failed
        finally:
            self.key_pool.note(key, request.model, failed)

    async def unary(self, call: Any, request: Any) -> Any:
        return [event async for event in self.stream(call, request)][-1]


async def run(clock: FakeClock, key_pool: KeyPool, upstream: Upstream, *outside: Any) -> Any:
    events = Pipeline(*outside, KeySelection(key_pool)).stream(upstream.stream)(
        make_call(clock), REQUEST
    )
    task = asyncio.ensure_future(collect(events))
    while not task.done():
        await clock.advance(0.5)
    return await task


async def test_the_key_with_the_fewest_calls_is_taken(clock: FakeClock) -> None:
    """Calls spread over the keys by what is in flight, equals in turn."""
    key_pool = KeyPool(keys("a", "b", "c"), clock, lambda: REST)
    upstream = Upstream(clock, key_pool, k0=10, k1=10, k2=1)
    tasks = []
    for _ in range(3):
        tasks.append(asyncio.ensure_future(run(clock, key_pool, upstream)))
        await settle()
    await clock.advance(2)
    tasks.append(asyncio.ensure_future(run(clock, key_pool, upstream)))
    await settle()
    assert ["k0", "k1", "k2", "k2"] == upstream.asked
    await asyncio.gather(*tasks)
    assert [0, 0, 0] == [status.in_flight for status in key_pool.states()]


async def test_a_refused_key_is_followed_by_the_next_one_at_once(clock: FakeClock) -> None:
    """A dead key costs one attempt, and is then left alone for its rest."""
    key_pool = KeyPool(keys("a", "b"), clock, lambda: REST)
    upstream = Upstream(clock, key_pool, k0=KeyRefused("no"))
    for _ in range(3):
        await run(clock, key_pool, upstream)
    assert ["k0", "k1", "k1", "k1"] == upstream.asked
    assert upstream.times[0] == upstream.times[1]
    dead = key_pool.states()[0]
    assert (KeyState.INVALID, 0, 1, "UPSTREAM_KEY_REFUSED") == (
        dead.state,
        dead.succeeded,
        dead.failed,
        dead.last_failure_reason,
    )
    await clock.advance(REST)
    upstream.plays = {}
    await run(clock, key_pool, upstream)
    assert (5, KeyState.ACTIVE) == (len(upstream.asked), key_pool.states()[0].state)


async def test_when_every_key_is_dead_the_caller_is_told_so(clock: FakeClock) -> None:
    """Each is asked once, and the failure names the fix."""
    key_pool = KeyPool(keys("a", "b"), clock, lambda: REST)
    upstream = Upstream(clock, key_pool, k0=KeyRefused("x"), k1=KeyRefused("x"))
    with pytest.raises(KeyRefused):
        await run(clock, key_pool, upstream)
    assert ["k0", "k1"] == upstream.asked


async def test_without_a_key_there_is_no_call(clock: FakeClock) -> None:
    """The failure says which setting is missing."""
    key_pool = KeyPool([], clock, lambda: REST)
    with pytest.raises(NoUpstreamKey, match="GEMINI_API_KEY"):
        await run(clock, key_pool, Upstream(clock, key_pool))


async def test_a_throttled_project_waits_and_another_one_goes_on(clock: FakeClock) -> None:
    """Keys of the same project are not tried, one of another project is, at once."""
    key_pool = KeyPool(keys("a", "a", "b"), clock, lambda: REST)
    slow = Throttled("later", retry_after=40)
    upstream = Upstream(clock, key_pool, k0=slow, k1=slow)
    for _ in range(3):
        await run(clock, key_pool, upstream)
    assert ["k0", "k2", "k2", "k2"] == upstream.asked
    assert upstream.times[0] == upstream.times[1]
    states = [status.state for status in key_pool.states()]
    assert [KeyState.THROTTLED, KeyState.THROTTLED, KeyState.ACTIVE] == states


async def test_with_one_project_the_wait_is_the_retrys(clock: FakeClock) -> None:
    """Another key of the same project does not help, so the wait upstream asked for is kept."""
    key_pool = KeyPool(keys("a", "a"), clock, lambda: REST)
    upstream = Upstream(clock, key_pool, k0=Throttled("later", retry_after=7.5))
    retry = Retry(RetryOptions, clock, _Nothing())
    task = asyncio.ensure_future(run(clock, key_pool, upstream, retry))
    await task
    assert ["k0", "k1"] == upstream.asked
    assert 7.5 == upstream.times[1] - upstream.times[0]


async def test_a_spent_day_closes_one_model_of_one_project(clock: FakeClock) -> None:
    """For other models, and for other projects, everything goes on."""
    key_pool = KeyPool(keys("a", "b"), clock, lambda: REST)
    upstream = Upstream(clock, key_pool, k0=DailyQuotaExhausted("spent", retry_after=9000))
    await run(clock, key_pool, upstream)
    assert ["k0", "k1"] == upstream.asked
    assert KeyState.EXHAUSTED is key_pool.states()[0].state
    assert "k0" == key_pool.take("models/other").key_id


async def test_a_refused_project_rests_with_all_its_keys(clock: FakeClock) -> None:
    """Where the project may not use the API, no key of it is asked again for a while."""
    key_pool = KeyPool(keys("a", "a", "b"), clock, lambda: REST)
    upstream = Upstream(clock, key_pool, k0=ProjectRefused("no"))
    for _ in range(2):
        await run(clock, key_pool, upstream)
    assert ["k0", "k2", "k2"] == upstream.asked


async def test_a_limited_account_rests_with_all_its_keys(clock: FakeClock) -> None:
    """For as long as it says, else as a refused one; the project has one account."""
    for said, rest in ((None, REST), (900.0, 900.0)):
        key_pool = KeyPool(keys("a", "a", "b"), clock, lambda: REST)
        upstream = Upstream(clock, key_pool, k0=AccountLimited("no", retry_after=said))
        await run(clock, key_pool, upstream)
        assert ["k0", "k2"] == upstream.asked
        untils = [status.until for status in key_pool.states()]
        assert [clock.now() + rest, clock.now() + rest, None] == [
            until and pytest.approx(until, abs=1) for until in untils
        ]


FORBIDDEN, MISSING = UpstreamReply(403), UpstreamReply(404)


@pytest.mark.parametrize(
    ("error", "asked"),
    [
        (UnknownResource("no", upstream=FORBIDDEN), ["k0", "k2"]),
        (UnknownResource("no", upstream=MISSING), ["k0", "k2"]),
        (RefusedByModelApi("no", upstream=FORBIDDEN), ["k0", "k2"]),
        (UnknownResource("ours"), ["k0"]),
        (RefusedByModelApi("no", upstream=UpstreamReply(400)), ["k0"]),
    ],
)
async def test_what_may_be_another_projects_is_asked_there(
    clock: FakeClock, error: ServiceError, asked: list[str]
) -> None:
    """Once a project; and no key is left alone for it, since the caller named what is not there."""
    key_pool = KeyPool(keys("a", "a", "b"), clock, lambda: REST)
    upstream = Upstream(clock, key_pool, k0=error, k1=error, k2=error)
    with pytest.raises(type(error)):
        await run(clock, key_pool, upstream)
    assert asked == upstream.asked
    assert {None} == {status.until for status in key_pool.states()}


async def test_a_resource_is_found_in_its_project(clock: FakeClock) -> None:
    """The caller need not know which key sees it."""
    key_pool = KeyPool(keys("a", "b"), clock, lambda: REST)
    missing = UnknownResource("no", upstream=FORBIDDEN)
    upstream = Upstream(clock, key_pool, k0=missing)
    await run(clock, key_pool, upstream)
    assert ["k0", "k1"] == upstream.asked


async def test_nothing_is_switched_after_the_first_event(clock: FakeClock) -> None:
    """A stream that breaks is not begun anew with another key."""
    key_pool = KeyPool(keys("a", "b"), clock, lambda: REST)
    upstream = Upstream(clock, key_pool, k0=StreamCut("gone"))
    with pytest.raises(StreamCut):
        await run(clock, key_pool, upstream)
    assert ["k0"] == upstream.asked


async def test_overload_is_not_the_keys_fault(clock: FakeClock) -> None:
    """Another key of an overloaded model would only add to it: the failure goes to the retry."""
    key_pool = KeyPool(keys("a", "b"), clock, lambda: REST)
    upstream = Upstream(clock, key_pool, k0=UpstreamUnavailable("busy"))
    with pytest.raises(UpstreamUnavailable):
        await run(clock, key_pool, upstream)
    assert ["k0"] == upstream.asked


async def test_each_key_has_a_circuit_of_its_own(clock: FakeClock) -> None:
    """With the circuit of one key open, calls go out with the other one."""
    key_pool = KeyPool(keys("a", "b"), clock, lambda: REST)
    options = BreakerOptions(minimum_calls=2, failure_ratio=0.5)
    breaker = Breaker(lambda: options, clock, by_model_and_key)
    upstream = Upstream(clock, key_pool, k0=UpstreamUnavailable("busy"))
    pipeline = Pipeline(KeySelection(key_pool), breaker).unary(upstream.unary)
    for _ in range(4):
        try:
            await pipeline(make_call(clock), REQUEST)
        except UpstreamUnavailable:
            continue
    asked = len(upstream.asked)
    for _ in range(4):
        await pipeline(make_call(clock), REQUEST)
    assert {"k1"} == set(upstream.asked[asked:])
    assert {("models/a", "k0"), ("models/a", "k1")} == {
        (status.key, status.key_id) for status in breaker.states()
    }


async def test_quota_is_kept_by_project(clock: FakeClock) -> None:
    """When one project's own quota is spent, calls go to the other before any has to wait."""
    options = QuotaOptions(requests_per_minute=2)
    quota = Quota(lambda: options, clock, lambda: 3600.0)
    key_pool = KeyPool(keys("a", "b"), clock, lambda: REST, quota_wait=quota.wait)
    upstream = Upstream(clock, key_pool)
    pipeline = Pipeline(KeySelection(key_pool), quota).unary(upstream.unary)
    began = clock.now()
    for _ in range(4):
        await pipeline(make_call(clock), REQUEST)
    assert (began, {"a", "b"}) == (clock.now(), {status.project for status in quota.states()})
    assert [2, 2] == [upstream.asked.count(one) for one in ("k0", "k1")]


class _Nothing:
    """Draws no wait at all."""

    def uniform(self, low: float, _high: float) -> float:
        return low


async def test_changes_of_a_key_are_told_once(clock: FakeClock) -> None:
    """When it can no longer be used, and when it can again; not each call that finds it so."""
    told = Recorder()
    key_pool = KeyPool(keys("a"), clock, lambda: REST, bus=told.bus)
    upstream = Upstream(clock, key_pool)
    await run(clock, key_pool, upstream)
    upstream.plays = {"k0": KeyRefused("x")}
    for _ in range(3):
        with pytest.raises(KeyRefused):
            await run(clock, key_pool, upstream)
    upstream.plays = {}
    await run(clock, key_pool, upstream)
    assert [("ACTIVE", "INVALID", REST), ("INVALID", "ACTIVE", None)] == [
        (change.before.name, change.key.state.name, change.for_seconds)
        for change in told.of(KeyChanged)
    ]
    assert "UPSTREAM_KEY_REFUSED" == told.of(KeyChanged)[0].key.last_failure_reason


async def test_each_key_knows_how_its_calls_ended(clock: FakeClock) -> None:
    """Answers and failures are counted by key."""
    key_pool = KeyPool(keys("a", "b"), clock, lambda: REST)
    upstream = Upstream(clock, key_pool, k1=UpstreamUnavailable("no"))
    for _ in range(3):
        await run(clock, key_pool, upstream)
        with pytest.raises(UpstreamUnavailable):
            await run(clock, key_pool, upstream)
    assert [(3, 0), (0, 3)] == [(one.succeeded, one.failed) for one in key_pool.states()]
