"""What executions cost and how fast they were, by the model that served them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from gemini.backend.v1.content_pb2 import Usage
from gemini_backend.errors import Throttled
from gemini_backend.models.measured import NOTHING, Availability
from gemini_backend.telemetry.metrics.cost_metrics import PaidExecutions
from gemini_backend.telemetry.metrics.snapshots import Counts, Latency, Stats, Tokens
from tests.support.messages.events import ended, heard_by

if TYPE_CHECKING:
    from gemini_backend.errors import ServiceError
    from tests.support.clock import FakeClock

KNOWN = {"models/a": "a", "a-001": "a", "models/b": "b"}


def recent(succeeded: int = 0, failed: int = 0) -> Stats:
    counts = Counts(succeeded=succeeded, failed=failed)
    return Stats(counts, (), Latency(), Latency(), Tokens(), 0.0, 0)


def run(
    paid: PaidExecutions,
    served: str = "a-001",
    cost: int | None = 1000,
    *,
    pays: bool = True,
    error: ServiceError | None = None,
    first: float | None = 0.5,
) -> None:
    """Let an execution of two seconds end: 30 tokens after half a second, 60 of thoughts."""
    usage = Usage(candidates_token_count=30, thoughts_token_count=60)
    event = ended("models/x", 2.0, served_model=served, cost_nano_usd=cost, pays=pays, error=error)
    heard_by(paid).publish(replace(event, first_token_seconds=first, usage=usage))


async def test_costs_are_counted_by_the_model_that_served(clock: FakeClock) -> None:
    """Whatever was asked for; what nobody knows has no price, what was shared costs nothing."""
    paid = PaidExecutions(clock, KNOWN.get)
    for served in ("a-001", "models/a", "models/b", "models/nobody"):
        run(paid, served)
    run(paid, pays=False)
    run(paid, cost=None)
    (figure,) = paid.figures()
    assert {("a",): 2e-6, ("b",): 1e-6} == pytest.approx(figure.values)
    assert 3000 == paid.cost_nano_usd
    paid.spent("models/b", 500)
    paid.spent("models/nobody", 500)
    assert 3500 == paid.cost_nano_usd


async def test_paces_are_those_of_executions_that_were_paid_for(clock: FakeClock) -> None:
    """A hit of the cache says nothing of a model's speed, nor does a failure."""
    paid = PaidExecutions(clock, KNOWN.get)
    assert NOTHING == paid.seen("a", recent(), broken=False)
    for _ in range(6):
        run(paid)
    for _ in range(50):
        run(paid, pays=False, first=0.001)
        run(paid, error=Throttled("x"), first=0.001)
    seen = paid.seen("a", recent(succeeded=56), broken=False)
    assert (6, 60.0, 20.0) == (seen.samples, seen.thoughts, seen.tokens_per_second)
    assert (0.5, 2.0) == pytest.approx((seen.first_token_p50, seen.latency_p95))
    await clock.advance(400)
    assert NOTHING == paid.seen("a", recent(), broken=False)


async def test_an_answer_in_one_piece_says_nothing_of_the_speed(clock: FakeClock) -> None:
    """Nor does one that nobody saw begin."""
    paid = PaidExecutions(clock, KNOWN.get)
    run(paid, first=1.95)
    run(paid, first=None)
    seen = paid.seen("a", recent(succeeded=2), broken=False)
    assert (2, None) == (seen.samples, seen.tokens_per_second)


@pytest.mark.parametrize(
    ("succeeded", "failed", "broken", "availability"),
    [
        (20, 1, False, Availability.AVAILABLE),
        (9, 1, False, Availability.DEGRADED),
        (1, 9, False, Availability.UNAVAILABLE),
        (20, 0, True, Availability.UNAVAILABLE),
        (0, 0, True, Availability.UNAVAILABLE),
    ],
)
async def test_failures_and_open_circuits_tell_whether_a_model_answers(
    clock: FakeClock, succeeded: int, failed: int, broken: bool, availability: Availability
) -> None:
    """From a tenth of failures on it is degraded; with its circuit open it does not answer."""
    paid = PaidExecutions(clock, KNOWN.get)
    seen = paid.seen("a", recent(succeeded, failed), broken=broken)
    assert availability is seen.availability
