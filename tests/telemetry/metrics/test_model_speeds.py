"""How fast models are, by the executions that say something of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from gemini.backend.v1.content_pb2 import Usage
from gemini_backend.call import Work
from gemini_backend.errors import Throttled
from gemini_backend.models.measured import NOTHING
from gemini_backend.telemetry.metrics.model_speeds import ModelSpeeds
from tests.support.messages.events import ended, heard_by

if TYPE_CHECKING:
    from gemini_backend.errors import ServiceError
    from tests.support.clock import FakeClock

KNOWN = {"a-001": "a"}


def run(
    speeds: ModelSpeeds,
    work: Work = Work.EXECUTION,
    *,
    pays: bool = True,
    error: ServiceError | None = None,
    first: float | None = 0.5,
) -> None:
    """Let an execution of two seconds end: 30 tokens after half a second, 60 of thoughts."""
    usage = Usage(candidates_token_count=30, thoughts_token_count=60)
    event = ended("models/x", 2.0, work=work, served_model="a-001", pays=pays, error=error)
    heard_by(speeds).publish(replace(event, first_token_seconds=first, usage=usage))


async def test_speeds_are_those_of_executions_that_were_paid_for(clock: FakeClock) -> None:
    """A hit of the cache says nothing of a model's speed, nor do a failure and embeddings."""
    speeds = ModelSpeeds(clock, KNOWN.get)
    assert NOTHING == speeds.of("a")
    for _ in range(6):
        run(speeds)
    for _ in range(50):
        run(speeds, pays=False, first=0.001)
        run(speeds, error=Throttled("x"), first=0.001)
        run(speeds, Work.EMBEDDING, first=0.001)
    seen = speeds.of("a")
    assert (6, 60.0, 20.0) == (seen.samples, seen.thoughts, seen.tokens_per_second)
    assert (0.5, 2.0) == pytest.approx((seen.first_token_p50, seen.latency_p95))
    await clock.advance(400)
    assert NOTHING == speeds.of("a")


async def test_an_answer_in_one_piece_says_nothing_of_the_speed(clock: FakeClock) -> None:
    """Nor does one that nobody saw begin."""
    speeds = ModelSpeeds(clock, KNOWN.get)
    run(speeds, first=1.95)
    run(speeds, first=None)
    assert (2, None) == (speeds.of("a").samples, speeds.of("a").tokens_per_second)
