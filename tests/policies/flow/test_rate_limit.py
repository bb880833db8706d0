"""What each principal may ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.config.sections.flow import RateLimitOptions
from gemini_backend.errors import RateLimited, UpstreamUnavailable
from gemini_backend.policies.flow import rate_limit
from gemini_backend.policies.flow.rate_limit import MAX_PRINCIPALS, RateLimit
from gemini_backend.principal import Owner, Principal
from tests.support.layers.alone import Alone
from tests.support.layers.inproc import collect
from tests.support.messages.calls import make_call, started
from tests.support.upstreams.scripted_attempts import ANSWER, DOWN, Attempts

if TYPE_CHECKING:
    from tests.support.clock import FakeClock

REQUEST = pb.ExecuteRequest(model="models/a", prompt="x" * 40)


def limit_of(clock: FakeClock, **options: Any) -> RateLimit:
    """Return a policy with these limits."""
    built = RateLimitOptions(**options)
    return RateLimit(lambda: built, clock)


async def run(
    clock: FakeClock, limit: RateLimit, upstream: Attempts, principal: Principal | None = None
) -> list[Any]:
    """Run one stream of a principal."""
    call = make_call(clock)
    call = replace(call, principal=principal or Principal())
    return await collect(Alone(limit).stream(call, REQUEST, upstream.stream))


async def test_beyond_the_limit_is_refused(clock: FakeClock) -> None:
    """The refusal says after how long to come back and which limit it was, and then it is so."""
    limit, upstream = limit_of(clock, requests_per_minute=2), Attempts(clock, ANSWER)
    for _ in range(2):
        await run(clock, limit, upstream)
    with pytest.raises(RateLimited, match="limit of 2 requests per minute") as refused:
        await run(clock, limit, upstream)
    assert pytest.approx(30) == refused.value.retry_after
    (quota,) = refused.value.quota
    assert ("default/anonymous", "2 requests per minute") == (quota.subject, quota.description)
    await clock.advance(30)
    await run(clock, limit, upstream)
    assert (3, 1) == (upstream.count, limit.refused)


async def test_tokens_are_settled(clock: FakeClock) -> None:
    """The whole usage counts; more than was estimated leaves a debt to wait for."""
    usage = content.Usage(total_token_count=150)
    end = pb.ExecuteResponse(completed=pb.Completed(usage=usage))
    limit = limit_of(clock, tokens_per_minute=100)
    await run(clock, limit, Attempts(clock, (started(), end)))
    with pytest.raises(RateLimited, match="100 tokens") as refused:
        await run(clock, limit, Attempts(clock, ANSWER))
    assert pytest.approx(36) == refused.value.retry_after  # 50 of debt and 10 wanted


async def test_tokens_are_settled_without_a_total(clock: FakeClock) -> None:
    """The parts count then; where nothing was counted the estimate stands."""
    parts = content.Usage(
        prompt_token_count=100,
        candidates_token_count=20,
        thoughts_token_count=20,
        tool_use_prompt_token_count=10,
    )
    end = pb.ExecuteResponse(completed=pb.Completed(usage=parts))
    limit = limit_of(clock, tokens_per_minute=100)
    await run(clock, limit, Attempts(clock, (started(), end)))
    with pytest.raises(RateLimited, match="100 tokens") as refused:
        await run(clock, limit, Attempts(clock, ANSWER))
    assert pytest.approx(36) == refused.value.retry_after
    terms = content.Usage(traffic_type=content.TRAFFIC_TYPE_ON_DEMAND)
    end = pb.ExecuteResponse(completed=pb.Completed(usage=terms))
    limit = limit_of(clock, tokens_per_minute=12)
    await run(clock, limit, Attempts(clock, (started(), end)))
    with pytest.raises(RateLimited, match="12 tokens"):
        await run(clock, limit, Attempts(clock, ANSWER))


async def test_a_failed_call_costs_no_tokens(clock: FakeClock) -> None:
    """What was not counted is given back."""
    limit = limit_of(clock, tokens_per_minute=10)
    for _ in range(5):
        with pytest.raises(UpstreamUnavailable):
            await run(clock, limit, Attempts(clock, DOWN))


async def test_a_refusal_takes_nothing(clock: FakeClock) -> None:
    """What is short of one limit is not taken out of the other."""
    limit = limit_of(clock, requests_per_minute=2, tokens_per_minute=10)
    call, hanging = make_call(clock), Attempts(clock, (started(), 1000))
    events: Any = Alone(limit).stream(call, REQUEST, hanging.stream)
    await anext(events)
    for _ in range(5):
        with pytest.raises(RateLimited, match="tokens"):
            await run(clock, limit, hanging)
    await events.aclose()
    await clock.advance(60)
    await run(clock, limit, Attempts(clock, ANSWER))


async def test_what_a_refusal_does_not_take_is_there_for_others(clock: FakeClock) -> None:
    """Refused for want of tokens, a call has used up no request; and the other way round."""
    options = [RateLimitOptions(requests_per_minute=3, tokens_per_minute=20)]
    limit, hanging = RateLimit(lambda: options[-1], clock), Attempts(clock, (started(), 1000))
    open_ones: list[Any] = [
        Alone(limit).stream(make_call(clock), REQUEST, hanging.stream) for _ in "ab"
    ]
    for events in open_ones:
        await anext(events)
    for _ in range(5):
        with pytest.raises(RateLimited, match="20 tokens"):
            await run(clock, limit, hanging)
    assert 5 == limit.refused
    options.append(RateLimitOptions(requests_per_minute=3))
    await run(clock, limit, Attempts(clock, ANSWER))
    with pytest.raises(RateLimited, match="3 requests"):
        await run(clock, limit, Attempts(clock, ANSWER))
    for events in open_ones:
        await events.aclose()


async def test_requests_alone_are_counted_without_tokens(clock: FakeClock) -> None:
    """Where only requests are limited, a prompt may be as long as it likes."""
    limit = limit_of(clock, requests_per_minute=2)
    long = pb.ExecuteRequest(model="models/a", prompt="x" * 1_000_000)
    for _ in range(2):
        await collect(Alone(limit).stream(make_call(clock), long, Attempts(clock, ANSWER).stream))
    with pytest.raises(RateLimited) as refused:
        await run(clock, limit, Attempts(clock, ANSWER))
    assert ["2 requests per minute"] == [quota.description for quota in refused.value.quota]


async def test_a_failed_call_is_settled_once(clock: FakeClock) -> None:
    """What it gave back it does not give back again: no more than the limit is ever there."""
    limit = limit_of(clock, tokens_per_minute=30)
    await run(clock, limit, Attempts(clock, (started(),)))  # keeps its estimate of ten
    with pytest.raises(UpstreamUnavailable):
        await run(clock, limit, Attempts(clock, DOWN))
    await run(clock, limit, Attempts(clock, (started(),)))
    await run(clock, limit, Attempts(clock, (started(),)))
    with pytest.raises(RateLimited, match="30 tokens"):
        await run(clock, limit, Attempts(clock, ANSWER))


async def test_principals_do_not_share(clock: FakeClock) -> None:
    """One principal's calls take nothing from another's."""
    limit, upstream = limit_of(clock, requests_per_minute=1), Attempts(clock, ANSWER)
    await run(clock, limit, upstream, Principal("t", "a"))
    await run(clock, limit, upstream, Principal("t", "b"))
    with pytest.raises(RateLimited):
        await run(clock, limit, upstream, Principal("t", "a"))


async def test_whole_answers_are_limited_too(clock: FakeClock) -> None:
    """Unary calls obey the same rules."""
    limit, upstream = limit_of(clock, tokens_per_minute=12), Attempts(clock, ANSWER)
    await Alone(limit).unary(make_call(clock), REQUEST, upstream.unary)
    with pytest.raises(RateLimited):
        await Alone(limit).unary(make_call(clock), REQUEST, upstream.unary)


async def test_principals_are_bounded(clock: FakeClock) -> None:
    """Beyond the bound the one not seen for longest starts anew."""
    limit = limit_of(clock, requests_per_minute=1)

    async def answer(_call: Any, _request: Any) -> None:
        return None

    for number in range(MAX_PRINCIPALS + 1):
        call = make_call(clock)
        call = replace(call, principal=Principal("t", str(number)))
        await Alone(limit).unary(call, REQUEST, answer)
    assert MAX_PRINCIPALS == len(limit._buckets)


async def test_who_is_dropped_beyond_the_bound_is_the_one_not_seen_for_longest(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever called lately is still limited."""
    monkeypatch.setattr(rate_limit, "MAX_PRINCIPALS", 2)
    limit, upstream = limit_of(clock, requests_per_minute=2), Attempts(clock, ANSWER)
    for name in "abac":
        await run(clock, limit, upstream, Principal("t", name))
    with pytest.raises(RateLimited):
        await run(clock, limit, upstream, Principal("t", "a"))
    await run(clock, limit, upstream, Principal("t", "b"))
    assert [Owner("t", "a"), Owner("t", "b")] == sorted(limit._buckets)


async def test_a_changed_limit_holds_from_the_next_call_on(clock: FakeClock) -> None:
    """Raised or lowered, for those who are known already."""
    options = [RateLimitOptions(requests_per_minute=2)]
    limit, upstream = RateLimit(lambda: options[-1], clock), Attempts(clock, ANSWER)
    await run(clock, limit, upstream)
    options.append(RateLimitOptions(requests_per_minute=4))
    for _ in range(3):
        await run(clock, limit, upstream)
    with pytest.raises(RateLimited, match="4 requests"):
        await run(clock, limit, upstream)
    options.append(RateLimitOptions(requests_per_minute=1))
    await clock.advance(600)
    await run(clock, limit, upstream)
    with pytest.raises(RateLimited, match="1 requests"):
        await run(clock, limit, upstream)


async def test_a_failed_whole_answer_costs_no_tokens(clock: FakeClock) -> None:
    """As a failed stream."""
    limit, down = limit_of(clock, tokens_per_minute=10), Attempts(clock, DOWN)
    for _ in range(5):
        with pytest.raises(UpstreamUnavailable):
            await Alone(limit).unary(make_call(clock), REQUEST, down.unary)
    assert 5 == down.count


async def test_no_limit_costs_nothing(clock: FakeClock) -> None:
    """Without limits nothing is kept of anybody."""
    limit, upstream = limit_of(clock), Attempts(clock, ANSWER)
    await run(clock, limit, upstream)
    assert {} == limit._buckets


@pytest.mark.parametrize(
    ("prompt", "cached", "counted", "refused"),
    [
        (100, 90, False, False),
        (100, 90, True, True),
        (100, 0, False, True),
        (100, -5, False, True),  # a count that cannot be is none
        (10, 400, False, True),  # no more than the prompt can have come out of a cache
    ],
)
async def test_cached_tokens_count_as_configured(
    clock: FakeClock, prompt: int, cached: int, counted: bool, refused: bool
) -> None:
    """By default a caller's limit is for what Gemini computes anew."""
    usage = content.Usage(
        prompt_token_count=prompt, cached_content_token_count=cached, total_token_count=prompt + 100
    )
    end = pb.ExecuteResponse(completed=pb.Completed(usage=usage))
    limit = limit_of(clock, tokens_per_minute=130, count_cached_tokens=counted)
    await run(clock, limit, Attempts(clock, (started(), end)))
    if prompt == 10:  # 100 of 130 are spent
        await run(clock, limit, Attempts(clock, (started(), end)))
    if not refused:
        await run(clock, limit, Attempts(clock, ANSWER))
        return
    with pytest.raises(RateLimited):
        await run(clock, limit, Attempts(clock, ANSWER))
