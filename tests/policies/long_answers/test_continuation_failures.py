"""Failures over the hops of a long answer: retries, keys, deadlines, cuts, other models."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1.error_details_pb2 import ExecutionFailure
from gemini_backend.call import KEY, FixedBudget, UpstreamKey
from gemini_backend.config.sections.execution import ExecutionOptions
from gemini_backend.config.sections.flow import AdmissionOptions
from gemini_backend.config.sections.resilience import FallbackOptions, HedgeOptions, RetryOptions
from gemini_backend.errors import (
    DeadlinePassed,
    KeyRefused,
    ServiceError,
    StreamCut,
    Throttled,
    UpstreamUnavailable,
)
from gemini_backend.policies.attempts.attempt_timeouts import AttemptTimeouts
from gemini_backend.policies.attempts.fallback import Fallback
from gemini_backend.policies.attempts.hedging.hedge import Hedge
from gemini_backend.policies.attempts.key_pool import KeyPool
from gemini_backend.policies.attempts.key_selection import KeySelection
from gemini_backend.policies.attempts.retry import Retry
from gemini_backend.policies.flow.admission import Admission
from gemini_backend.policies.flow.concurrency import FixedLimit
from tests.support.upstreams.hop_upstream import (
    ESTIMATED,
    LongAnswer,
    Run,
    asked,
    hop,
    said,
    text_of,
    usage_of,
)
from tests.support.upstreams.scripted_attempts import finish

if TYPE_CHECKING:
    from tests.support.clock import FakeClock

DOWN = UpstreamUnavailable("down")
FIRST = hop("a", "b", token=b"t1", usage=usage_of(10, 4))
LAST = hop("c", usage=usage_of(10, 2))


def cut(*texts: str, usage: content.Usage | None = None) -> list[Any]:
    """Return a hop that breaks off behind its texts, the failure of which tells its usage."""
    error = StreamCut("cut")
    error.failure = ExecutionFailure(usage=usage)
    return [*hop(*texts, "never")[: 1 + len(texts)], error]


def retry(clock: FakeClock, **options: Any) -> Retry:
    """Return a retry with a budget that is never spent."""
    built = RetryOptions(**({"budget_ratio": 10, "budget_min_per_second": 1000} | options))
    return Retry(lambda: built, clock, Random(1))


async def failing(run: Run, request: Any = None) -> ServiceError:
    """Return what a stream fails with."""
    with pytest.raises(ServiceError) as failed:
        await finish(run.clock, run.stream(request))
    return failed.value


async def test_a_hop_is_tried_again_before_its_first_piece(clock: FakeClock) -> None:
    """A later hop has tries of its own, as many as a request; nothing is said twice."""
    plays = {b"": [[DOWN], [DOWN], FIRST], b"t1": [[DOWN], [DOWN], LAST]}
    upstream = LongAnswer(clock, plays)
    run = Run(clock, upstream, inside=[retry(clock)])
    assert "abc" == said(await finish(clock, run.stream()))
    assert [b""] * 3 + [b"t1"] * 3 == upstream.tokens
    assert 6 == len(run.call.outcome.attempts)


async def test_a_whole_answer_tries_its_hops_again(clock: FakeClock) -> None:
    """Of a whole answer only the hop that failed is made again."""
    plays = {b"": [FIRST], b"t1": [cut("c"), LAST]}
    upstream = LongAnswer(clock, plays)
    answer = await finish(clock, Run(clock, upstream, inside=[retry(clock)]).whole())
    assert ("abc", [b"", b"t1", b"t1"]) == (text_of(answer), upstream.tokens)


async def test_text_that_was_handed_on_is_never_asked_for_again(clock: FakeClock) -> None:
    """A hop that is cut behind its first piece ends the answer, with the token before that hop."""
    plays = {
        b"": [FIRST],
        b"t1": [hop("c", token=b"t2", usage=usage_of(10, 2))],
        b"t2": [cut("d", usage=usage_of(10, 1))],
    }
    upstream = LongAnswer(clock, plays)
    run = Run(clock, upstream, inside=[retry(clock)])
    error = await failing(run)
    assert ("abcd", [b"", b"t1", b"t2"]) == (said(run.seen), upstream.tokens)
    told = error.failure
    assert told is not None
    assert (b"t2", "3", "2") == (
        told.continuation_token,
        error.metadata["continuation_after_event"],
        error.metadata["continuations"],
    )
    total = usage_of(30, 7)
    total.quality = ESTIMATED
    assert (total, True) == (told.usage, error.final)


async def test_pieces_behind_the_last_whole_hop_are_known_by_their_event(clock: FakeClock) -> None:
    """What the token brings again is what has a larger `upstream_event` than the failure says."""
    upstream = LongAnswer(clock, {b"": [FIRST], b"t1": [cut("c", "d")]})
    run = Run(clock, upstream)
    error = await failing(run)
    after = int(error.metadata["continuation_after_event"])
    whole = [event for event in run.seen if event.delta.upstream_event <= after]
    assert ("ab", "abcd") == (said(whole), said(run.seen))


async def test_the_first_hop_has_no_place_to_go_on_from(clock: FakeClock) -> None:
    """A failure of the first hop is as ever: no token, its own usage."""
    run = Run(clock, LongAnswer(clock, {b"": [cut("a", usage=usage_of(10, 1))]}))
    error = await failing(run)
    assert error.failure is not None
    assert (b"", usage_of(10, 1)) == (error.failure.continuation_token, error.failure.usage)
    assert {} == error.metadata


async def test_the_callers_own_token_stays_the_place(clock: FakeClock) -> None:
    """Who came with a token and got nothing may come with it again."""
    run = Run(clock, LongAnswer(clock, {b"t1": [[DOWN]]}))
    error = await failing(run, asked(continuation_token=b"t1"))
    assert error.failure is not None
    assert (b"t1", False) == (error.failure.continuation_token, error.failure.HasField("usage"))


async def test_usage_that_only_pieces_told_counts(clock: FakeClock) -> None:
    """Where a failure itself does not say what its hop used, the last piece does."""
    play = hop("c", "d", usage=usage_of(10, 2))[:2]
    upstream = LongAnswer(clock, {b"": [FIRST], b"t1": [[*play, StreamCut("silent")]]})
    error = await failing(Run(clock, upstream))
    assert error.failure is not None
    assert (20, 5, ESTIMATED) == (
        error.failure.usage.prompt_token_count,
        error.failure.usage.candidates_token_count,
        error.failure.usage.quality,
    )


@pytest.mark.parametrize("whole", [False, True])
async def test_no_other_model_goes_on_with_an_answer(clock: FakeClock, whole: bool) -> None:
    """A hop that fails for good ends the execution: no fallback, not for a whole answer either."""
    plays = {b"": [FIRST], b"t1": [[DOWN]]}
    upstream = LongAnswer(clock, plays)
    fallback = Fallback(lambda: FallbackOptions(models=("b",)), clock)
    run = Run(clock, upstream, outside=[fallback])
    with pytest.raises(UpstreamUnavailable):
        await finish(clock, run.whole() if whole else run.stream())
    assert ["models/a"] * 2 == [request.model for request in upstream.requests]


async def test_no_other_model_is_asked_with_a_token(clock: FakeClock) -> None:
    """A token is of the model that gave it."""
    upstream = LongAnswer(clock, {b"t1": [[DOWN]]})
    fallback = Fallback(lambda: FallbackOptions(models=("b",)), clock)
    await failing(Run(clock, upstream, outside=[fallback]), asked(continuation_token=b"t1"))
    assert ["models/a"] == [request.model for request in upstream.requests]


async def test_a_model_in_line_may_answer_in_hops(clock: FakeClock) -> None:
    """Before the first piece the next model is asked, and is then followed."""
    plays = {b"": [[DOWN], FIRST], b"t1": [LAST]}
    upstream = LongAnswer(clock, plays)
    fallback = Fallback(lambda: FallbackOptions(models=("b",)), clock)
    run = Run(clock, upstream, outside=[fallback])
    assert "abc" == said(await finish(clock, run.stream()))
    assert ["models/a", "models/b", "models/b"] == [one.model for one in upstream.requests]


async def test_one_deadline_for_all_hops(clock: FakeClock) -> None:
    """The call's deadline holds over hops, and what was whole by then can be gone on from."""
    slow = [*FIRST[:2], 5, *FIRST[2:]]
    upstream = LongAnswer(clock, {b"": [slow], b"t1": [[30, *LAST]]})
    timeouts = AttemptTimeouts(ExecutionOptions, clock)
    run = Run(clock, upstream, inside=[retry(clock), timeouts])
    begun = clock.now()
    run.call = replace(run.call, budget=FixedBudget(begun + 20))
    error = await failing(run)
    assert isinstance(error, DeadlinePassed)
    assert pytest.approx(20, abs=1e-3) == clock.now() - begun
    assert error.failure is not None
    assert b"t1" == error.failure.continuation_token


async def test_each_hop_has_its_own_time_to_begin(clock: FakeClock) -> None:
    """The time for a first token begins anew with each hop, and a late one is tried again."""
    plays = {b"": [[4, *FIRST]], b"t1": [[9, *LAST], [4, *LAST]]}
    upstream = LongAnswer(clock, plays)
    options = ExecutionOptions(first_token_timeout_seconds=5)
    timeouts = AttemptTimeouts(lambda: options, clock)
    run = Run(clock, upstream, inside=[retry(clock), timeouts])
    assert "abc" == said(await finish(clock, run.stream()))
    assert [b"", b"t1", b"t1"] == upstream.tokens


async def test_no_slot_is_held_between_hops(clock: FakeClock) -> None:
    """Each hop is admitted by itself, and gives its slot back at its end."""
    built = AdmissionOptions(max_concurrent_requests=1)
    slots = Admission(lambda: built, clock, FixedLimit(lambda: built))
    run = Run(clock, LongAnswer(clock, {b"": [FIRST], b"t1": [LAST]}), inside=[slots])
    assert "abc" == said(await finish(clock, run.stream()))
    assert 0 == slots.running


async def test_each_hop_may_be_hedged(clock: FakeClock) -> None:
    """A later hop that is slow to begin gets company, and the token of whoever wins counts."""
    plays = {
        b"": [FIRST],
        b"t1": [[60, *LAST], hop("c", token=b"t2", usage=usage_of(1, 1))],
        b"t2": [LAST],
    }
    upstream = LongAnswer(clock, plays)
    options = HedgeOptions(enabled=True, delay_ms=1000, budget_ratio=1)
    run = Run(clock, upstream, inside=[Hedge(lambda: options, clock)])
    assert "abcc" == said(await finish(clock, run.stream()))
    assert ([b"", b"t1", b"t1", b"t2"], 0) == (upstream.tokens, upstream.open)


async def test_who_leaves_between_hops_asks_for_no_more(clock: FakeClock) -> None:
    """A caller that goes away within a hop, or at its end, ends it: nothing is left open."""
    for seen in range(1, 4):
        upstream = LongAnswer(clock, {b"": [FIRST], b"t1": [LAST]})
        run = Run(clock, upstream)
        events = run.pipeline.stream(upstream.stream)(run.call, asked())
        for _ in range(seen):
            await anext(events)
        await events.aclose()  # type: ignore[attr-defined] # a generator
        assert ([b""], 0) == (upstream.tokens, upstream.open)


class Board:
    """Keys of two projects, and an upstream that notes which key each hop went out with."""

    def __init__(self, clock: FakeClock, plays: dict[bytes, list[list[Any]]]) -> None:
        projects = ("p0", "p0", "p1")
        keys = [UpstreamKey(f"k{n}", project) for n, project in enumerate(projects)]
        self.key_pool = KeyPool(keys, clock, lambda: 300)
        self.upstream = LongAnswer(clock, plays)
        self.used: list[str] = []
        self.upstream.key_of = self._note
        self.run = Run(clock, self.upstream, inside=[KeySelection(self.key_pool)])

    def _note(self, _number: int) -> str:
        key = KEY.get()
        assert key is not None
        self.used.append(key.key_id)
        return key.key_id


async def test_a_token_goes_out_with_the_key_that_it_came_with(clock: FakeClock) -> None:
    """All hops of an answer have one key, however free the others are."""
    hops = {b"": [FIRST], b"t1": [hop("c", token=b"t2")], b"t2": [LAST]}
    desk = Board(clock, hops)
    await finish(clock, desk.run.stream())
    assert 1 == len(set(desk.used))


async def test_a_refused_key_gives_way_to_one_of_its_project(clock: FakeClock) -> None:
    """Another key of the same project is asked with the token, at once."""
    desk = Board(clock, {b"": [FIRST], b"t1": [[KeyRefused("no")], LAST]})
    assert "abc" == said(await finish(clock, desk.run.stream()))
    assert ["k0", "k0", "k1"] == desk.used


@pytest.mark.parametrize("error", [KeyRefused("no"), Throttled("wait", retry_after=9)])
async def test_no_other_project_is_asked_with_a_token(
    clock: FakeClock, error: ServiceError
) -> None:
    """When the project has no key left the answer ends there, with the token for later."""
    desk = Board(clock, {b"": [FIRST], b"t1": [[error]]})
    told = (await failing(desk.run)).failure
    assert told is not None
    assert (b"t1", False) == (told.continuation_token, "k2" in desk.used)


@pytest.mark.parametrize("how", ["manual", "failed"])
async def test_a_token_that_a_caller_had_is_known_again(clock: FakeClock, how: str) -> None:
    """A later execution with a token goes out with a key of the project that gave it."""
    desk = Board(clock, {b"": [FIRST], b"t1": [cut("c"), LAST]})
    if how == "manual":
        desk.upstream.plays[b"t1"] = [LAST]
        manual = asked(continuation_mode=pb.CONTINUATION_MODE_MANUAL)
        await finish(clock, desk.run.stream(manual))
    else:
        await failing(desk.run)
    for _ in range(3):
        again = Run(clock, desk.upstream, inside=[KeySelection(desk.key_pool)])
        again.policy = desk.run.policy
        again.pipeline = desk.run.pipeline
        await finish(clock, again.stream(asked(continuation_token=b"t1")))
    assert {"k0"} == set(desk.used)


async def test_a_token_that_nobody_knows_goes_out_with_any_key(clock: FakeClock) -> None:
    """After a restart, say, the key that suits best is taken."""
    desk = Board(clock, {b"t9": [LAST]})
    assert "c" == said(await finish(clock, desk.run.stream(asked(continuation_token=b"t9"))))
