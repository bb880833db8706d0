"""Slots and the queue before them.

Covers: policies/flow/concurrency.py
"""

from __future__ import annotations

import asyncio
import gc
import time
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.config.sections.flow import AdmissionOptions
from gemini_backend.errors import (
    KeyRefused,
    Overloaded,
    ServiceError,
    Throttled,
    UpstreamUnavailable,
)
from gemini_backend.policies.flow.admission import Admission
from gemini_backend.policies.flow.concurrency import FixedLimit, GradientLimit
from gemini_backend.principal import Principal
from tests.support.clock import settle
from tests.support.layers.alone import Alone
from tests.support.layers.inproc import collect
from tests.support.layers.waiting_calls import BATCH, DEFAULT, INTERACTIVE, Crowd, admission_of
from tests.support.messages.calls import make_call, started
from tests.support.upstreams.scripted_attempts import ANSWER, DOWN, Attempts, finish

if TYPE_CHECKING:
    from tests.support.clock import FakeClock


@pytest.fixture
def crowd(clock: FakeClock) -> Crowd:
    """A crowd before a single slot."""
    return Crowd(clock, admission_of(clock, 1))


async def test_a_slot_is_held_until_the_stream_ends(clock: FakeClock) -> None:
    """Never more run than there are slots, and each gives its slot back, however it ends."""
    admission = admission_of(clock, 3)
    upstream = Attempts(clock, (1, *ANSWER), (1, *DOWN), (started(), 1, *DOWN))
    streams = [
        collect(Alone(admission).stream(make_call(clock), pb.ExecuteRequest(), upstream.stream))
        for _ in range(20)
    ]
    ends = await finish(clock, asyncio.gather(*streams, return_exceptions=True))
    assert (20, 3) == (upstream.count, upstream.most_open)
    assert 19 == sum(isinstance(end, UpstreamUnavailable) for end in ends)
    assert (0, (0, 0, 0)) == (admission.running, admission.state().queued)


async def test_a_closed_stream_gives_its_slot_back(clock: FakeClock) -> None:
    """A caller who leaves in mid-answer frees the slot at once."""
    admission = admission_of(clock, 1)
    upstream = Attempts(clock, (started(), 1000))
    events: Any = Alone(admission).stream(make_call(clock), pb.ExecuteRequest(), upstream.stream)
    await anext(events)
    assert 1 == admission.running
    await events.aclose()
    assert (0, 0) == (admission.running, upstream.open)


async def test_priorities_come_first(crowd: Crowd) -> None:
    """A slot goes to the highest priority that waits; unsaid counts as interactive."""
    await crowd.begin("first")
    for name, priority in (
        ("batch", BATCH),
        ("default", DEFAULT),
        ("interactive", INTERACTIVE),
        ("unsaid", pb.PRIORITY_UNSPECIFIED),
    ):
        await crowd.begin(name, priority=priority)
    assert ["first", "interactive", "unsaid", "default", "batch"] == await crowd.end_all()


async def test_tenants_take_turns(crowd: Crowd) -> None:
    """One tenant's many calls do not keep another's few waiting."""
    for number in range(5):
        await crowd.begin(f"many{number}", tenant="many")
    await crowd.begin("few0", tenant="few")
    await crowd.begin("few1", tenant="few")
    expected = ["many0", "many1", "few0", "many2", "few1", "many3", "many4"]
    assert expected == await crowd.end_all()


async def test_the_time_in_the_queue_is_told(crowd: Crowd) -> None:
    """A call knows how long it waited."""
    await crowd.begin("first")
    await crowd.begin("second")
    await crowd.clock.advance(2.5)
    await crowd.end_all()
    assert (0.0, 2.5) == tuple(
        crowd.calls[name].outcome.queued_seconds for name in ("first", "second")
    )


async def test_a_cancelled_waiter_leaves_no_trace(crowd: Crowd) -> None:
    """Who is cancelled is not in the queue any more, and its turn goes to the next one."""
    for name in ("first", "gone", "next"):
        await crowd.begin(name)
    crowd.tasks["gone"].cancel()
    await settle()
    assert (1, 0, 0) == crowd.admission.state().queued
    assert ["first", "next"] == await crowd.end_all()
    assert 0 == crowd.admission.running


@pytest.mark.parametrize("turns", range(6))
async def test_a_slot_given_to_one_who_leaves_is_not_lost(crowd: Crowd, turns: int) -> None:
    """A cancel in the very moment of the turn passes the slot on, and only that one."""
    for name in ("first", "gone", "next", "last"):
        await crowd.begin(name)
    crowd._ends["first"].set()
    for _ in range(turns):
        await asyncio.sleep(0)
    crowd.tasks["gone"].cancel()
    await settle()
    assert (1, 1) == (crowd.admission.running, sum(crowd.admission.state().queued))
    assert ["next", "last"] == (await crowd.end_all())[-2:]
    assert 0 == crowd.admission.running


@pytest.mark.parametrize("turns", range(6))
async def test_a_cancel_at_any_moment_loses_no_slot(crowd: Crowd, turns: int) -> None:
    """Whichever comes first, the cancel or the turn, the sum of slots stays right."""
    for name in ("first", "gone", "next"):
        await crowd.begin(name)
    crowd.tasks["gone"].cancel()
    crowd._ends["first"].set()
    for _ in range(turns):
        await asyncio.sleep(0)
    crowd.tasks["gone"].cancel()
    await crowd.end_all()
    assert crowd.served[-1] == "next"
    assert 0 == crowd.admission.running


async def test_a_full_queue_refuses(clock: FakeClock) -> None:
    """Beyond the bound the newcomer is refused at once."""
    crowd = Crowd(clock, admission_of(clock, 1, max_queued=1))
    for name in ("first", "second", "third"):
        await crowd.begin(name)
    with pytest.raises(Overloaded, match="found the queue full"):
        await crowd.tasks["third"]
    assert ["first", "second"] == await crowd.end_all()


async def test_a_full_queue_makes_room_for_the_more_important(clock: FakeClock) -> None:
    """The newest of the lowest priority goes out for a newcomer above it."""
    crowd = Crowd(clock, admission_of(clock, 1, max_queued=2))
    await crowd.begin("first")
    await crowd.begin("batch", priority=BATCH)
    await crowd.begin("batch too", priority=BATCH)
    await crowd.begin("important", priority=INTERACTIVE)
    with pytest.raises(Overloaded, match="higher priority"):
        await crowd.tasks["batch too"]
    assert ["first", "important", "batch"] == await crowd.end_all()


async def test_who_cannot_make_it_is_refused_at_once(clock: FakeClock) -> None:
    """By the time that slots are held, a deadline may be hopeless: then nobody waits for it."""
    admission = admission_of(clock, 2)
    upstream = Attempts(clock, (10, *ANSWER))
    request = pb.ExecuteRequest()

    def begin(deadline: float) -> asyncio.Task[Any]:
        call = make_call(clock, deadline=deadline)
        return asyncio.ensure_future(
            collect(Alone(admission).stream(call, request, upstream.stream))
        )

    await finish(clock, begin(100))
    running = [begin(1000) for _ in range(4)]
    await settle()
    hopeless = begin(14)  # two ahead, and two slots of ten seconds each: fifteen
    await settle()
    with pytest.raises(Overloaded, match="beyond its deadline") as refused:
        await hopeless
    assert pytest.approx(15, abs=0.01) == refused.value.retry_after
    hopeful = begin(40)
    assert 4 == len(await finish(clock, hopeful))
    await finish(clock, asyncio.gather(*running))
    assert 1 == admission.refused


async def test_nobody_waits_beyond_the_deadline(crowd: Crowd) -> None:
    """A wait ends with the call's deadline, as overload and not as the model's failure."""
    await crowd.begin("first")
    await crowd.begin("second", deadline=5)
    await crowd.clock.advance(5)
    with pytest.raises(Overloaded, match="until its deadline"):
        await crowd.tasks["second"]
    assert (0, 0, 0) == crowd.admission.state().queued
    await crowd.end_all()


async def test_no_limit_holds_nobody(clock: FakeClock) -> None:
    """With 0 slots configured there is no limit."""
    crowd = Crowd(clock, admission_of(clock, 0))
    for number in range(50):
        await crowd.begin(str(number))
    assert 50 == len(crowd.served)
    assert None is crowd.admission.state().limit
    await crowd.end_all()


async def test_a_raised_limit_is_used_at_once(clock: FakeClock) -> None:
    """After a live change the next call lets in those who wait."""
    options = [AdmissionOptions(max_concurrent_requests=1)]
    limit = FixedLimit(lambda: options[-1])
    crowd = Crowd(clock, Admission(lambda: options[-1], clock, limit))
    for name in "abc":
        await crowd.begin(name)
    options.append(AdmissionOptions(max_concurrent_requests=10))
    await crowd.begin("d")
    assert ["a", "b", "c", "d"] == sorted(crowd.served)
    await crowd.end_all()


async def test_the_state_is_told(crowd: Crowd) -> None:
    """Health learns who runs and waits, and for how long."""
    await crowd.begin("first")
    await crowd.begin("second", priority=BATCH)
    await crowd.clock.advance(3)
    state = crowd.admission.state()
    assert (1, 1, (0, 0, 1), 3.0) == (
        state.running,
        state.limit,
        state.queued,
        state.oldest_wait,
    )
    await crowd.end_all()


async def test_the_cost_of_a_call_does_not_grow_with_the_queue(clock: FakeClock) -> None:
    """With 10,000 waiting a call costs about what it costs with 100: lining up and being served."""

    async def cost(waiting: int) -> float:
        admission = admission_of(clock, 1, max_queued=100_000)
        request = pb.ExecuteRequest()
        free = asyncio.Event()

        async def work(_call: Any, _request: Any) -> None:
            await free.wait()

        calls = [
            replace(make_call(clock), principal=Principal(f"tenant{number % 97}"))
            for number in range(waiting)
        ]
        gc.collect()
        gc.disable()
        begun = time.process_time()
        tasks = [
            asyncio.ensure_future(Alone(admission).unary(call, request, work)) for call in calls
        ]
        await asyncio.sleep(0)
        free.set()
        await asyncio.gather(*tasks)
        spent = time.process_time() - begun
        gc.enable()
        return spent / waiting

    small = min([await cost(500) for _ in range(3)])
    assert await cost(10_000) < 3 * small


def test_an_adaptive_limit_follows_latency() -> None:
    """It grows while answers begin in time, shrinks when they begin late, and within bounds."""
    options = AdmissionOptions(
        adaptive=True, max_concurrent_requests=200, min_concurrent_requests=10
    )
    limit = GradientLimit(lambda: options)
    assert 10 == limit.value()
    for _ in range(300):
        limit.began("stream", 0.5, limit.value() or 0)
    grown = limit.value() or 0
    assert 200 == grown
    for _ in range(100):
        limit.began("stream", 5.0, limit.value() or 0)
    shrunk = limit.value() or 0
    assert shrunk < grown / 2
    for _ in range(1000):
        limit.began("stream", 0.5, limit.value() or 0)
    assert 200 == limit.value()


def test_an_adaptive_limit_shrinks_at_failures_and_not_below_its_least() -> None:
    """Each failure that speaks of overload takes a tenth, down to the least."""
    options = AdmissionOptions(adaptive=True, min_concurrent_requests=10)
    limit = GradientLimit(lambda: options)
    for _ in range(300):
        limit.began("stream", 0.5, limit.value() or 0)
    before = limit.value() or 0
    limit.failed()
    assert int(before * 0.9) <= (limit.value() or 0) < before
    for _ in range(100):
        limit.failed()
    assert 10 == limit.value()


def test_an_adaptive_limit_does_not_grow_unused() -> None:
    """With few running nothing is known of more."""
    options = AdmissionOptions(adaptive=True, min_concurrent_requests=10)
    limit = GradientLimit(lambda: options)
    for _ in range(300):
        limit.began("whole", 0.5, 1)
    assert 10 == limit.value()


class Learning:
    """A limit that notes what it learns."""

    def __init__(self) -> None:
        self.began_with: list[tuple[str, float, int]] = []
        self.failures = 0

    def value(self) -> int | None:
        return 5

    def began(self, kind: str, seconds: float, running: int) -> None:
        self.began_with.append((kind, round(seconds, 3), running))

    def failed(self) -> None:
        self.failures += 1


async def test_the_limit_learns_how_calls_fare(clock: FakeClock) -> None:
    """When answers begin, of which kind, and with how many running."""
    limit, options = Learning(), AdmissionOptions()
    admission = Admission(lambda: options, clock, limit)
    request = pb.ExecuteRequest(model="models/a")
    good = Attempts(clock, (2, *ANSWER[:1], 3, *ANSWER[1:]))
    await finish(clock, collect(Alone(admission).stream(make_call(clock), request, good.stream)))
    await finish(clock, Alone(admission).unary(make_call(clock), request, good.unary))
    assert [("stream", 2.0, 1), ("whole", 5.0, 1)] == limit.began_with
    assert (0, 0) == (limit.failures, admission.running)


@pytest.mark.parametrize(
    ("error", "failures"),
    [(Throttled("x"), 1), (UpstreamUnavailable("x"), 1), (KeyRefused("x"), 0)],
)
@pytest.mark.parametrize("whole", [False, True])
async def test_the_limit_learns_of_overload(
    clock: FakeClock, error: ServiceError, failures: int, whole: bool
) -> None:
    """Throttles and a model that is ill speak of load; what is the key's fault does not."""
    limit, options = Learning(), AdmissionOptions()
    admission, bad = Admission(lambda: options, clock, limit), Attempts(clock, (error,))
    call, request = make_call(clock), pb.ExecuteRequest()
    with pytest.raises(type(error)):
        if whole:
            await Alone(admission).unary(call, request, bad.unary)
        else:
            await collect(Alone(admission).stream(call, request, bad.stream))
    assert (failures, [], 0) == (limit.failures, limit.began_with, admission.running)


async def test_an_estimate_follows_the_latest_calls_slowly(crowd: Crowd) -> None:
    """The first call's time is all there is to go by; each later one counts a tenth."""
    for name, seconds in (("a", 10), ("b", 20)):
        await crowd.begin(name)
        await crowd.clock.advance(seconds)
        await crowd.end(name)
    assert 0.0 == crowd.admission.state().estimated_wait
    await crowd.begin("c")
    assert pytest.approx(11) == crowd.admission.state().estimated_wait
    await crowd.begin("d")
    assert pytest.approx(22) == crowd.admission.state().estimated_wait
    await crowd.end_all()
