"""Who waits for upstream's quota, in what order they go out again, and how a quota opens again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.config.sections.flow import QuotaOptions
from gemini_backend.errors import (
    DailyQuotaExhausted,
    QuotaExhausted,
    ServiceError,
    Throttled,
    UpstreamReply,
    UpstreamUnavailable,
)
from gemini_backend.policies.flow.quota import Quota
from gemini_backend.telemetry.component_status import QuotaKind
from tests.support.clock import settle
from tests.support.layers.alone import Alone
from tests.support.layers.inproc import collect
from tests.support.messages.calls import make_call
from tests.support.upstreams.scripted_attempts import ANSWER, REQUEST, Attempts, finish

if TYPE_CHECKING:
    from gemini_backend.call import Call
    from tests.support.clock import FakeClock

UNTIL_RESET = 3600.0


def quota_of(clock: FakeClock, **options: Any) -> Quota:
    built = QuotaOptions(**options)
    return Quota(lambda: built, clock, lambda: UNTIL_RESET)


def named(quota: str, value: str, **more: Any) -> Throttled:
    """Return a refusal that names a quota."""
    violations = [{"quotaId": quota, "quotaValue": value}]
    detail = {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": violations}
    return Throttled("spent", upstream=UpstreamReply(429, details=(detail,)), **more)


async def drive(quota: Quota, upstream: Attempts, call: Call, request: Any = REQUEST) -> Any:
    """Run one stream to its end; return its failure."""
    try:
        await collect(Alone(quota).stream(call, request, upstream.stream))
    except ServiceError as error:
        return error
    return None


async def refused(
    clock: FakeClock, quota: Quota, error: ServiceError, request: Any = REQUEST
) -> None:
    """Have one call refused by upstream."""
    upstream = Attempts(clock, (error,))
    assert error.reason == (await drive(quota, upstream, make_call(clock), request)).reason


async def go_out(clock: FakeClock, quota: Quota, count: int) -> list[float]:
    """Return when so many calls go out that come now."""
    upstream, begun = Attempts(clock, ANSWER), clock.now()
    calls = [drive(quota, upstream, make_call(clock)) for _ in range(count)]
    assert [None] * count == list(await finish(clock, asyncio.gather(*calls)))
    return [at - begun for at in upstream.times]


async def test_a_crowd_does_not_come_back_in_one_moment(clock: FakeClock) -> None:
    """Not before the time that was named, and then a few at a time, faster and faster."""
    quota = quota_of(clock)
    await refused(clock, quota, Throttled("x", retry_after=10))
    times = await go_out(clock, quota, 40)
    assert (pytest.approx(10, abs=1e-3), True) == (times[0], times[-1] < 14)
    assert max(sum(at <= one < at + 0.1 for one in times) for at in times) <= 4


async def test_with_a_limit_that_was_named_they_keep_to_it(clock: FakeClock) -> None:
    """Sixty a minute are one a second."""
    quota = quota_of(clock)
    await refused(clock, quota, named("XPerMinute", "60", retry_after=10))
    times = await go_out(clock, quota, 15)
    assert pytest.approx([10.0 + n for n in range(15)], abs=0.01) == times


async def test_without_one_they_keep_to_what_was_accepted(clock: FakeClock) -> None:
    """Ten within the period before: hardly more within the next."""
    quota = quota_of(clock, max_wait_seconds=100)
    await go_out(clock, quota, 10)
    await refused(clock, quota, Throttled("x", retry_after=20))
    times = await go_out(clock, quota, 12)
    assert 11 <= sum(at <= 40 for at in times) <= 12
    assert max(sum(at <= one < at + 1 for one in times) for at in times) == 1


async def test_who_could_not_go_out_in_time_is_refused_at_once(clock: FakeClock) -> None:
    """By the line before it, not only by the throttle."""
    quota = quota_of(clock)
    await refused(clock, quota, named("XPerMinute", "60", retry_after=10))
    upstream = Attempts(clock, ANSWER)
    tasks = [
        asyncio.ensure_future(drive(quota, upstream, make_call(clock, deadline=15)))
        for _ in range(20)
    ]
    await settle()
    done = [task for task in tasks if task.done()]
    assert 14 == len(done)
    assert {QuotaExhausted} == {type(task.result()) for task in done}
    await clock.advance(20)
    assert [None] * 6 == [task.result() for task in tasks if task not in done]


async def test_who_is_throttled_again_lines_up_anew(clock: FakeClock) -> None:
    """Those who still wait wait on, and go out one after the other once more."""
    quota = quota_of(clock, max_wait_seconds=100)
    await refused(clock, quota, Throttled("x", retry_after=5))
    upstream = Attempts(clock, ANSWER)
    crowd = asyncio.gather(*(drive(quota, upstream, make_call(clock)) for _ in range(10)))
    await clock.advance(5.3)
    assert 2 == upstream.count
    quota._models["", "models/a"].learn(Throttled("x", retry_after=7), 0, clock.now())
    await clock.advance(6.9)
    assert 2 == upstream.count
    await finish(clock, crowd)
    rest = upstream.times[2:]
    assert len(set(rest)) == len(rest) == 8


async def test_a_request_that_exceeds_a_quota_by_itself_holds_nobody_back(
    clock: FakeClock,
) -> None:
    """Its caller's fault stays its own; a small one that is refused is everybody's matter."""
    huge = pb.ExecuteRequest(prompt="word " * 10_000, model="models/a")
    error = named("InputTokensPerMinute", "1000", retry_after=30)
    quota = quota_of(clock)
    await refused(clock, quota, error, huge)
    assert [0.0] == await go_out(clock, quota, 1)
    await refused(clock, quota, error)
    assert 30 == quota.wait("", "models/a")


async def test_a_tools_quota_holds_nobody_back(clock: FakeClock) -> None:
    """Nor closes the model for the day."""
    quota = quota_of(clock)
    for error in (Throttled("x", retry_after=9), DailyQuotaExhausted("x", retry_after=9)):
        error.concerns_model = False
        with pytest.raises(type(error)):
            await Alone(quota).unary(make_call(clock), REQUEST, Attempts(clock, (error,)).unary)
    assert [0.0] == await go_out(clock, quota, 1)


async def test_a_learnt_limit_recovers(clock: FakeClock) -> None:
    """Without a restart, where calls wait for it and upstream no longer refuses."""
    quota = quota_of(clock, probe_seconds=60, max_wait_seconds=300)
    await refused(clock, quota, named("XPerMinute", "2", retry_after=1))
    capacities = []
    for _ in range(4):
        await go_out(clock, quota, 2)
        await clock.advance(60)
        await go_out(clock, quota, 2)
        capacities.append(quota.states()[0].capacity)
    assert capacities == sorted(capacities)
    assert capacities[-1] >= 5


async def test_a_closed_day_is_tried_by_one_call(clock: FakeClock) -> None:
    """The others fail at once; an answer opens it for all, a refusal closes it for longer."""
    quota = quota_of(clock, probe_seconds=60)
    spent = DailyQuotaExhausted("spent", retry_after=3000)
    await refused(clock, quota, spent)
    state = quota.states()[0]
    assert (clock.now() + 3000, clock.now() + 60, spent.reason) == (
        state.blocked_until,
        state.probe_at,
        state.reason,
    )
    await clock.advance(60)
    await refused(clock, quota, spent)
    upstream = Attempts(clock, ANSWER)
    for seconds in (0, 119):
        await clock.advance(seconds)
        assert QuotaExhausted is type(await drive(quota, upstream, make_call(clock)))
    await clock.advance(1)
    assert await drive(quota, upstream, make_call(clock)) is None
    assert [0.0] * 5 == await go_out(clock, quota, 5)
    assert [] == quota.states()


async def test_a_probe_that_fails_otherwise_changes_nothing(clock: FakeClock) -> None:
    """The next one comes in its time."""
    quota = quota_of(clock, probe_seconds=60)
    await refused(clock, quota, DailyQuotaExhausted("spent", retry_after=3000))
    await clock.advance(60)
    await refused(clock, quota, UpstreamUnavailable("x"))
    assert QuotaExhausted is type(await drive(quota, Attempts(clock, ANSWER), make_call(clock)))
    await clock.advance(60)
    assert await drive(quota, Attempts(clock, ANSWER), make_call(clock)) is None


async def test_a_learnt_day_is_tried_and_a_configured_one_is_not(clock: FakeClock) -> None:
    """What an operator has set is kept to."""
    for options, expected in (({}, None), ({"requests_per_day": 1}, QuotaExhausted)):
        quota = quota_of(clock, probe_seconds=60, **options)
        if not options:
            quota._models["", "models/a"] = quota._quota("models/a", quota._options(), clock.now())
            quota._models["", "models/a"]._learned.name(
                {QuotaKind.REQUESTS_PER_DAY: 1}, 60, clock.now()
            )
        upstream = Attempts(clock, ANSWER)
        assert await drive(quota, upstream, make_call(clock)) is None
        assert QuotaExhausted is type(await drive(quota, upstream, make_call(clock)))
        await clock.advance(61)
        found = await drive(quota, upstream, make_call(clock))
        assert expected is (None if found is None else type(found))


async def test_who_waits_is_shown(clock: FakeClock) -> None:
    """How many wait, until when and why; the call itself knows how long it has waited and why."""
    quota = quota_of(clock)
    await refused(clock, quota, Throttled("x", retry_after=5))
    upstream, calls = Attempts(clock, ANSWER), [make_call(clock) for _ in range(3)]
    crowd = asyncio.gather(*(drive(quota, upstream, call) for call in calls))
    await clock.advance(1)
    (state,) = quota.states()
    assert (3, "UPSTREAM_THROTTLED", clock.now() + 4) == (
        state.waiting,
        state.reason,
        state.blocked_until,
    )
    await clock.advance(4.01)
    (state,) = quota.states()
    assert (2, "", None) == (state.waiting, state.reason, state.blocked_until)
    await finish(clock, crowd)
    assert [] == quota.states()
    waits = [call.outcome.quota_seconds for call in calls]
    assert pytest.approx(5, abs=0.01) == waits[0] < waits[1] < waits[2]
    assert {"upstream throttles the project"} == {call.outcome.quota_reason for call in calls}
