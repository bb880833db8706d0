"""A full queue: who gives way to whom, and what is told of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemini_backend.config.sections.flow import AdmissionOptions
from gemini_backend.errors import Overloaded
from gemini_backend.policies.flow.admission import Admission, Refusal
from gemini_backend.policies.flow.concurrency import FixedLimit
from gemini_backend.telemetry.events import AdmissionRefused
from tests.support.clock import FakeClock
from tests.support.layers.recorder import Recorder
from tests.support.layers.waiting_calls import BATCH, INTERACTIVE, Crowd, admission_of


async def test_one_tenant_cannot_keep_the_others_out(clock: FakeClock) -> None:
    """A full queue makes room at the cost of the tenant that has the most waiting in it."""
    crowd = Crowd(clock, admission_of(clock, 1, max_queued=4))
    for number in range(5):
        await crowd.begin(f"many{number}", tenant="many")
    for number in range(3):
        await crowd.begin(f"few{number}", tenant="few")
    for gone in ("many4", "many3"):
        with pytest.raises(Overloaded, match="tenant with fewer"):
            await crowd.tasks[gone]
    with pytest.raises(Overloaded, match="found the queue full"):
        await crowd.tasks["few2"]
    assert {"many0", "many1", "many2", "few0", "few1"} == set(await crowd.end_all())


ARRIVALS = st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from([INTERACTIVE, BATCH])))


@settings(max_examples=60, deadline=None)
@given(arrivals=ARRIVALS, room=st.integers(0, 6))
def test_whoever_is_refused_has_its_share(arrivals: list[tuple[str, Any]], room: int) -> None:
    """No refused tenant has two less waiting than another of its priority, or a lower one."""

    async def play() -> None:
        clock = FakeClock()
        crowd = Crowd(clock, admission_of(clock, 1, max_queued=room))
        await crowd.begin("first", tenant="z")
        for number, (tenant, priority) in enumerate(arrivals):
            await crowd.begin(str(number), tenant, priority)
        waiting: Counter[tuple[str, Any]] = Counter()
        refused = set()
        for number, arrival in enumerate(arrivals):
            done = crowd.tasks[str(number)].done()
            waiting[arrival] += not done
            refused |= {arrival} if done else set()
        assert waiting.total() <= room
        assert waiting.total() == min(room, len(arrivals))
        for tenant, priority in refused:
            own = waiting[tenant, priority]
            assert all(n <= own + 1 for (_, p), n in waiting.items() if p == priority)
            if priority == INTERACTIVE:
                assert not any(n for (_, p), n in waiting.items() if p == BATCH)
        await crowd.end_all()
        assert 0 == crowd.admission.running

    asyncio.run(play())


async def test_refusals_are_told_with_why(clock: FakeClock) -> None:
    """Who watches learns why, at which priority, and how full it is."""
    options = AdmissionOptions(max_concurrent_requests=1, max_queued=1)
    told = Recorder()
    admission = Admission(lambda: options, clock, FixedLimit(lambda: options), told.bus)
    crowd = Crowd(clock, admission)
    for name in ("first", "second", "third"):
        await crowd.begin(name, priority=BATCH)
    await crowd.begin("important")
    assert [("queue_full", "batch", 1, 1), ("put_out", "batch", 1, 1)] == [
        (one.why, one.priority, one.running, one.queued) for one in told.of(AdmissionRefused)
    ]
    assert (1, 1, 2) == (
        admission.refusals[Refusal.QUEUE_FULL],
        admission.refusals[Refusal.PUT_OUT],
        admission.refused,
    )
    await crowd.end_all()
