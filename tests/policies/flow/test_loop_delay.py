"""What may begin follows how late the event loop is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.config.sections.flow import AdmissionOptions
from gemini_backend.errors import Overloaded
from gemini_backend.policies.flow.admission import Admission
from gemini_backend.policies.flow.concurrency import FixedLimit
from gemini_backend.policies.flow.loop_delay import EVERY_SECONDS, LoopDelay
from tests.support.layers.alone import Alone
from tests.support.layers.waiting_calls import Crowd, admission_of
from tests.support.messages.calls import make_call

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.clock import FakeClock


async def never(_call: Any, _request: Any) -> Any:
    pytest.fail("the attempt began")


class LateClock:
    """A clock whose alarms ring when a test says so, and as late as it says."""

    def __init__(self) -> None:
        self.time = 0.0
        self.alarms: list[Callable[[], None]] = []

    def now(self) -> float:
        return self.time

    def alarm(self, _seconds: float, callback: Callable[[], None]) -> None:
        self.alarms.append(callback)

    def ring(self, late: float) -> None:
        self.time += EVERY_SECONDS + late
        self.alarms.pop()()


def delay_of(clock: LateClock, running: int, limit: float = 0.1) -> LoopDelay:
    return LoopDelay(clock, lambda: limit, lambda: running, lambda: None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("late", "may_begin"), [(0.0, 1000), (0.04, 1000), (0.06, 10), (0.09, 10), (0.11, 0)]
)
def test_the_later_the_loop_the_less_begins(late: float, may_begin: int) -> None:
    """Up to half the limit anything; up to the limit a twentieth of what runs; then nothing."""
    clock = LateClock()
    delay = delay_of(clock, running=200)
    delay.begin()
    clock.ring(late)
    begun = 0
    while delay.has_room() and begun < 1000:
        delay.begin()
        begun += 1
    assert (may_begin, pytest.approx(late)) == (begun, delay.seconds)


def test_it_looks_only_while_something_runs() -> None:
    """Where nothing runs there is no alarm, and no delay to tell."""
    clock = LateClock()
    delay = delay_of(clock, running=0)
    delay.begin()
    clock.ring(5)
    assert ([], 0.0, True) == (clock.alarms, delay.seconds, delay.has_room())


def test_no_limit_looks_at_nothing() -> None:
    """With 0 there is no alarm at all."""
    clock = LateClock()
    delay_of(clock, running=200, limit=0).begin()
    assert [] == clock.alarms


async def test_attempts_wait_while_the_loop_is_late(clock: FakeClock) -> None:
    """They begin when it has caught up; the least number begins in any case."""
    crowd = Crowd(clock, admission_of(clock, 100, min_concurrent_requests=2))
    await crowd.begin("a")
    await crowd.begin("b")
    clock.stall(EVERY_SECONDS + 1)
    await crowd.begin("c")
    state = crowd.admission.state()
    assert ((2, 2, 1), pytest.approx(1)) == (
        (state.running, state.limit, sum(state.queued)),
        state.loop_delay,
    )
    await clock.advance(EVERY_SECONDS)
    assert ["a", "b", "c"] == crowd.served
    await crowd.end_all()


async def test_fewer_than_the_least_number_look_at_nothing(clock: FakeClock) -> None:
    """There is room for them however late the loop is, so no alarm is set; nor any more after."""
    crowd = Crowd(clock, admission_of(clock, 100, min_concurrent_requests=2))
    await crowd.begin("a")
    alarms = [len(clock._waits)]
    await crowd.begin("b")
    alarms.append(len(clock._waits))
    await crowd.end("b")
    await clock.advance(EVERY_SECONDS)
    alarms.append(len(clock._waits))
    assert [0, 1, 0] == alarms
    await crowd.end_all()


async def test_a_refusal_names_the_loop(clock: FakeClock) -> None:
    """Who cannot wait is told that the process is at its limit, and by which setting."""
    options = AdmissionOptions(min_concurrent_requests=1, max_queued=0)
    admission = Admission(lambda: options, clock, FixedLimit(lambda: options))
    crowd = Crowd(clock, admission)
    await crowd.begin("a")
    clock.stall(EVERY_SECONDS + 1)
    with pytest.raises(Overloaded, match="1000 ms late"):
        await Alone(admission).unary(make_call(clock), pb.ExecuteRequest(), never)
    await crowd.end_all()
