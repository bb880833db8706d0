"""Upstream's quota: waits, learns, settles.

Covers: policies/flow/last_event.py, policies/flow/model_quota.py, policies/flow/token_estimate.py
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.config.sections.flow import QuotaLimitOptions, QuotaOptions
from gemini_backend.errors import (
    DailyQuotaExhausted,
    Overloaded,
    QuotaExhausted,
    ServiceError,
    Throttled,
    UnknownModel,
    Unreachable,
    UpstreamReply,
    UpstreamUnavailable,
)
from gemini_backend.policies.flow.quota import MAX_MODELS, Quota
from gemini_backend.policies.flow.token_estimate import estimated_tokens
from gemini_backend.telemetry.component_status import QuotaKind
from tests.support.layers.alone import Alone
from tests.support.layers.inproc import collect
from tests.support.messages.calls import completed, make_call, started
from tests.support.upstreams.scripted_attempts import (
    ANSWER,
    REQUEST,
    Attempts,
    finish,
)

if TYPE_CHECKING:
    from gemini_backend.call import Call
    from tests.support.clock import FakeClock

RPM, TPM, RPD = QuotaKind
UNTIL_RESET = 3600.0


def quota_of(clock: FakeClock, **options: Any) -> Quota:
    """Return a policy whose days begin in an hour."""
    built = QuotaOptions(**options)
    return Quota(lambda: built, clock, lambda: UNTIL_RESET)


async def run(
    clock: FakeClock,
    quota: Quota,
    upstream: Attempts,
    request: pb.ExecuteRequest = REQUEST,
    call: Call | None = None,
) -> Any:
    """Run one stream to its end."""
    call = call or make_call(clock)
    return await finish(clock, collect(Alone(quota).stream(call, request, upstream.stream)))


def left(quota: Quota, kind: QuotaKind) -> int:
    """Return what is left of the only model's quota of a kind."""
    (found,) = [state.available for state in quota.states() if state.kind is kind]
    return found


def spent(*quotas: tuple[str, str], **more: Any) -> Throttled:
    """Return a refusal that names quotas and their values."""
    violations = [{"quotaId": name, "quotaValue": value} for name, value in quotas]
    detail = {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": violations}
    return Throttled("spent", upstream=UpstreamReply(429, details=(detail,)), **more)


async def test_unknown_quota_limits_nothing(clock: FakeClock) -> None:
    """Until something is configured or learnt, everything passes at once."""
    quota, upstream = quota_of(clock), Attempts(clock, ANSWER)
    for _ in range(50):
        await run(clock, quota, upstream)
    assert (50, []) == (upstream.count, quota.states())


async def test_what_nothing_held_back_counts_when_a_limit_comes(clock: FakeClock) -> None:
    """Requests of a day are counted while none are limited; a setting that is live applies."""
    built = [QuotaOptions()]
    quota, upstream = Quota(lambda: built[-1], clock, lambda: UNTIL_RESET), Attempts(clock, ANSWER)
    for _ in range(5):
        await run(clock, quota, upstream)
    built.append(QuotaOptions(requests_per_day=6))
    await run(clock, quota, upstream)
    with pytest.raises(QuotaExhausted):
        await run(clock, quota, upstream)
    built.append(QuotaOptions())
    await run(clock, quota, upstream)
    assert 7 == upstream.count


async def test_who_is_beyond_the_quota_waits_in_line(clock: FakeClock) -> None:
    """Beyond the quota calls go out one after the other, as fast as it fills up."""
    quota, upstream = quota_of(clock, requests_per_minute=6), Attempts(clock, ANSWER)
    calls = [make_call(clock) for _ in range(9)]
    begun = clock.now()
    await finish(clock, asyncio.gather(*(drive(quota, upstream, call) for call in calls)))
    waits = [time - begun for time in upstream.times]
    assert pytest.approx([0] * 6 + [10, 20, 30], abs=1e-3) == waits
    assert pytest.approx(30, abs=1e-3) == calls[-1].outcome.queued_seconds


async def drive(quota: Quota, upstream: Attempts, call: Call) -> list[Any]:
    """Run one stream to its end, without moving the clock."""
    return await collect(Alone(quota).stream(call, REQUEST, upstream.stream))


async def test_a_wait_that_is_too_long_is_refused_at_once(clock: FakeClock) -> None:
    """Beyond the longest wait, or the deadline, the call fails with the wait, and costs nothing."""
    quota = quota_of(clock, requests_per_minute=1, max_wait_seconds=50)
    upstream, begun = Attempts(clock, ANSWER), clock.now()
    await run(clock, quota, upstream)
    for deadline in (None, 10.0):
        with pytest.raises(QuotaExhausted) as refused:
            await run(clock, quota, upstream, call=make_call(clock, deadline=deadline))
        assert pytest.approx(60, abs=1e-3) == refused.value.retry_after
    assert 2 == quota.refused
    assert (1, begun) == (upstream.count, pytest.approx(clock.now(), abs=1e-3))
    await clock.advance(11)
    await run(clock, quota, upstream)  # the refused ones are not in line before it
    assert 2 == upstream.count


async def test_who_leaves_while_waiting_gives_its_place_back(clock: FakeClock) -> None:
    """A cancelled wait reserves nothing."""
    quota, upstream = quota_of(clock, requests_per_minute=2), Attempts(clock, ANSWER)
    for _ in range(2):
        await run(clock, quota, upstream)
    task = asyncio.ensure_future(drive(quota, upstream, make_call(clock)))
    await clock.advance(1)
    assert 1 == quota.waiting
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert 0 == quota.waiting
    begun = clock.now()
    await run(clock, quota, upstream)
    assert pytest.approx(29, abs=1e-3) == upstream.times[-1] - begun


async def test_only_so_many_wait(clock: FakeClock) -> None:
    """Beyond the bound further calls fail at once, and are told that it is the bound."""
    quota = quota_of(clock, requests_per_minute=60, max_waiting=0)
    upstream = Attempts(clock, ANSWER)
    for _ in range(60):
        await drive(quota, upstream, make_call(clock))
    assert 0 == quota.refused
    with pytest.raises(QuotaExhausted, match=r"0 calls already wait \(quota.max_waiting\)"):
        await run(clock, quota, upstream)
    assert 1 == quota.refused


async def test_tokens_are_settled_with_what_was_counted(clock: FakeClock) -> None:
    """The estimate is replaced by the prompt's real tokens when the answer ends."""
    usage = content.Usage(prompt_token_count=300, total_token_count=900)
    end = pb.ExecuteResponse(completed=pb.Completed(usage=usage))
    quota = quota_of(clock, tokens_per_minute=1000)
    await run(clock, quota, Attempts(clock, (started(), end)))
    assert 700 == left(quota, TPM)
    whole = pb.ProcessResponse(usage=content.Usage(prompt_token_count=100))

    async def answer(_call: Any, _request: Any) -> pb.ProcessResponse:
        return whole

    await Alone(quota).unary(make_call(clock), REQUEST, answer)
    assert 600 == left(quota, TPM)


@pytest.mark.parametrize(
    ("error", "requests", "tokens"),
    [
        (Overloaded("x"), 10, 1000),
        (Unreachable("x"), 10, 1000),
        (UpstreamUnavailable("x"), 9, 750),
        (Throttled("x"), 9, 1000),
    ],
)
async def test_what_never_reached_upstream_costs_nothing(
    clock: FakeClock, error: ServiceError, requests: int, tokens: int
) -> None:
    """Refusals of ours and lost connections are refunded; a throttled call cost no tokens."""
    quota = quota_of(clock, requests_per_minute=10, tokens_per_minute=1000)
    request = pb.ExecuteRequest(model="models/a", prompt="x" * 1000)
    with pytest.raises(type(error)):
        await drive_one(quota, clock, request, error)
    assert (requests, tokens) == (left(quota, RPM), left(quota, TPM))


async def drive_one(quota: Quota, clock: FakeClock, request: Any, error: ServiceError) -> None:
    """Run one stream that fails at once."""
    await collect(Alone(quota).stream(make_call(clock), request, Attempts(clock, (error,)).stream))


async def test_a_throttled_model_is_left_alone_by_all(clock: FakeClock) -> None:
    """After a 429 every call of the model waits for as long as upstream says; others do not."""
    quota, begun = quota_of(clock), clock.now()
    with pytest.raises(Throttled):
        await run(clock, quota, Attempts(clock, (Throttled("x", retry_after=12.5),)))
    upstream = Attempts(clock, ANSWER)
    other = pb.ExecuteRequest(model="models/b")
    await collect(Alone(quota).stream(make_call(clock), other, upstream.stream))
    await run(clock, quota, upstream)
    assert pytest.approx([0, 12.5], abs=1e-3) == [time - begun for time in upstream.times]


async def test_a_refusal_without_a_word_stops_others_only_where_it_is_one_of_many(
    clock: FakeClock,
) -> None:
    """One in a hundred is its own caller's affair; from a third on all of the model wait."""
    quota = quota_of(clock)
    upstream = Attempts(
        clock, *[(Throttled("x"),) if n % 100 == 50 else ANSWER for n in range(300)]
    )
    for _ in range(300):
        with contextlib.suppress(Throttled):
            await run(clock, quota, upstream)
    assert 0 == upstream.times[-1] - upstream.times[0]
    refusing = Attempts(clock, (Throttled("x"),))
    for _ in range(160):
        with contextlib.suppress(Throttled):
            await run(clock, quota, refusing)
    assert 1 <= refusing.times[-1] - refusing.times[0]


async def test_a_longer_wait_learnt_meanwhile_is_kept_too(clock: FakeClock) -> None:
    """Who waits already waits on when upstream asks for more; beyond its bound it fails."""
    quota = quota_of(clock)
    upstream = Attempts(clock, ANSWER)
    with pytest.raises(Throttled):
        await run(clock, quota, Attempts(clock, (Throttled("x", retry_after=5),)))
    patient = asyncio.ensure_future(drive(quota, upstream, make_call(clock)))
    short = asyncio.ensure_future(drive(quota, upstream, make_call(clock, deadline=10)))
    await clock.advance(1)
    quota._models["", "models/a"].learn(Throttled("x", retry_after=20), 0, clock.now())
    await clock.advance(25)
    assert 1 == upstream.count
    await patient
    with pytest.raises(QuotaExhausted):
        await short


async def test_values_are_learnt_from_refusals(clock: FakeClock) -> None:
    """A refusal that tells the quota's value sets it, above what is configured, and empties it."""
    quota = quota_of(clock, requests_per_minute=100)
    error = spent(
        ("GenerateRequestsPerMinutePerProjectPerModel-FreeTier", "15"),
        ("GenerateContentInputTokensPerModelPerMinute-FreeTier", "250000"),
        ("Strange", "7"),
        ("GenerateRequestsPerMinutePerProjectPerModel", "many"),
        retry_after=1,
    )
    with pytest.raises(Throttled):
        await run(clock, quota, Attempts(clock, (error,)))
    known = {state.kind: (state.capacity, state.learned) for state in quota.states()}
    assert {RPM: (15, True), TPM: (250_000, True)} == known
    assert {0} == {state.available for state in quota.states()}


@pytest.mark.parametrize("seconds", [0.25, 3.0, 28.837906927])
async def test_the_time_that_upstream_names_is_kept_to_the_fraction(
    clock: FakeClock, seconds: float
) -> None:
    """A learnt quota makes nobody wait longer than the refusal itself said; then it counts."""
    quota, begun = quota_of(clock), clock.now()
    error = spent(("GenerateRequestsPerMinutePerProjectPerModel", "4"), retry_after=seconds)
    with pytest.raises(Throttled):
        await run(clock, quota, Attempts(clock, (error,)))
    upstream = Attempts(clock, ANSWER)
    await run(clock, quota, upstream)
    assert pytest.approx(seconds, abs=1e-3) == upstream.times[0] - begun
    assert left(quota, RPM) < 4


async def test_a_quota_that_is_smaller_than_thought_is_no_lockout(clock: FakeClock) -> None:
    """What was sent before the real quota was known counts no longer than upstream says."""
    quota, upstream = quota_of(clock, requests_per_minute=1000), Attempts(clock, ANSWER)
    for _ in range(500):
        await collect(Alone(quota).stream(make_call(clock), REQUEST, upstream.stream))
    error = spent(("GenerateRequestsPerMinutePerProjectPerModel", "10"), retry_after=2.0)
    begun = clock.now()
    with pytest.raises(Throttled):
        await run(clock, quota, Attempts(clock, (error,)))
    await run(clock, quota, upstream)
    assert pytest.approx(2.0, abs=1e-3) == upstream.times[-1] - begun


async def test_a_change_of_the_setting_takes_the_place_of_what_was_learnt(
    clock: FakeClock,
) -> None:
    """Who is granted more by upstream says so by the setting, and need not restart."""
    options = QuotaOptions(requests_per_minute=100)
    quota = Quota(lambda: options, clock, lambda: UNTIL_RESET)
    error = spent(("GenerateRequestsPerMinutePerProjectPerModel", "10"), retry_after=1.0)
    with pytest.raises(Throttled):
        await run(clock, quota, Attempts(clock, (error,)))
    assert [(10, True)] == [(state.capacity, state.learned) for state in quota.states()]
    options = QuotaOptions(requests_per_minute=500)
    await run(clock, quota, Attempts(clock, ANSWER))
    assert [(500, False)] == [(state.capacity, state.learned) for state in quota.states()]


async def test_a_day_that_is_spent_closes_until_it_ends(clock: FakeClock) -> None:
    """After a daily 429 calls fail at once, until the time that it named."""
    quota, upstream = quota_of(clock), Attempts(clock, ANSWER)
    with pytest.raises(DailyQuotaExhausted):
        await run(clock, quota, Attempts(clock, (DailyQuotaExhausted("x", retry_after=1800),)))
    with pytest.raises(QuotaExhausted) as refused:
        await run(clock, quota, upstream)
    assert pytest.approx(1800, abs=1e-3) == refused.value.retry_after
    (state,) = quota.states()
    assert (RPD, 0) == (state.kind, state.available)
    assert pytest.approx(clock.now() + 1800, abs=1e-3) == state.blocked_until
    await clock.advance(1801)
    await run(clock, quota, upstream)
    assert 1 == upstream.count


async def test_requests_a_day_begin_anew_each_day(clock: FakeClock) -> None:
    """A configured number a day is kept, and counted from 0 when the day ends."""
    quota, upstream = quota_of(clock, requests_per_day=2), Attempts(clock, ANSWER)
    for _ in range(2):
        await run(clock, quota, upstream)
    with pytest.raises(QuotaExhausted) as refused:
        await run(clock, quota, upstream)
    assert pytest.approx(UNTIL_RESET, abs=1e-3) == refused.value.retry_after
    await clock.advance(UNTIL_RESET)
    await run(clock, quota, upstream)
    assert (3, 1) == (upstream.count, left(quota, RPD))


async def test_a_model_may_have_a_quota_of_its_own(clock: FakeClock) -> None:
    """What is configured for a model takes the place of what is configured for each."""
    own = QuotaLimitOptions(model="a", requests_per_minute=3)
    quota = quota_of(clock, requests_per_minute=100, models=(own,))
    await run(clock, quota, Attempts(clock, ANSWER))
    assert 2 == left(quota, RPM)


async def test_models_are_bounded(clock: FakeClock) -> None:
    """Beyond the bound the model not used for longest goes; what is no model leaves nothing."""
    quota, upstream = quota_of(clock, requests_per_minute=5), Attempts(clock, ANSWER)
    for number in range(MAX_MODELS + 3):
        request = pb.ExecuteRequest(model=f"models/{number}")
        await collect(Alone(quota).stream(make_call(clock), request, upstream.stream))
    assert MAX_MODELS == len(quota.states())
    with pytest.raises(UnknownModel):
        await drive_one(quota, clock, REQUEST, UnknownModel("none"))
    assert "models/a" not in {state.model for state in quota.states()}


def test_tokens_are_estimated_by_length() -> None:
    """Four characters of text are a token; anything else counts as one picture."""
    text = content.Content(parts=[content.Part(text="x" * 41)])
    picture = content.Content(parts=[content.Part(inline_data=content.Blob(data=b"y" * 9000))])
    assert 1 == estimated_tokens(pb.ExecuteRequest())
    request = pb.ExecuteRequest(prompt="abc", contents=[text, picture], system_instruction=text)
    assert 22 + 258 == estimated_tokens(request)


async def test_a_cancelled_stream_keeps_its_estimate(clock: FakeClock) -> None:
    """Where nobody counted, the estimate stays reserved."""
    quota = quota_of(clock, tokens_per_minute=1000)
    request = pb.ExecuteRequest(model="models/a", prompt="x" * 400)
    upstream = Attempts(clock, (started(), 100, completed()))
    events: Any = Alone(quota).stream(make_call(clock), request, upstream.stream)
    await anext(events)
    await events.aclose()
    assert 900 == left(quota, TPM)
