"""The budget of bytes in flight, in health and in metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_backend.memory import MemoryBudget, Purpose, RequestRoom
from gemini_backend.sizes import MIB
from gemini_backend.telemetry.events import BodyHeld
from gemini_backend.telemetry.health.health_rules import RECENT_SECONDS, HealthState
from gemini_backend.telemetry.memory_report import MemoryReport
from tests.support.messages.events import heard_by

if TYPE_CHECKING:
    from tests.support.clock import FakeClock


async def test_a_refusal_degrades_for_a_minute(clock: FakeClock) -> None:
    """The message names the setting."""
    budget = MemoryBudget(lambda: 64 * MIB, clock)
    health = MemoryReport(budget, RequestRoom(budget, clock), clock)
    assert HealthState.HEALTHY is health.component().state
    budget.refusal("all of it is taken")
    part = health.component()
    assert (HealthState.DEGRADED, "memory", False) == (part.state, part.name, part.essential)
    assert "64 MiB" in part.message
    assert "server.max_memory_mb" in part.message
    await clock.advance(RECENT_SECONDS)
    assert HealthState.HEALTHY is health.component().state


def test_metrics_tell_limit_use_and_refusals(clock: FakeClock) -> None:
    """By purpose, so that it can be seen what takes it."""
    budget = MemoryBudget(lambda: MIB, clock)
    budget.account(Purpose.JOURNAL).change(100)
    budget.refusal("")
    health = MemoryReport(budget, RequestRoom(budget, clock), clock)
    found = {family.name: family.values for family in health.families()}
    assert {(): MIB} == found["memory_limit_bytes"]
    assert 100 == found["memory_bytes"]["journal",]
    assert {"requests", "waiting", "bodies", "answers", "journal"} == {
        purpose for (purpose,) in found["memory_bytes"]
    }
    assert ({(): 0}, {(): 1}) == (found["memory_waiting_requests"], found["memory_refusals"])


def test_whole_answers_are_counted_while_they_are_there(clock: FakeClock) -> None:
    """Three times their bytes: the body, what is parsed of it, and the message."""
    budget = MemoryBudget(lambda: MIB, clock)
    bus = heard_by(MemoryReport(budget, RequestRoom(budget, clock), clock))
    bus.publish(BodyHeld(100))
    bus.publish(BodyHeld(50))
    held = budget.account(Purpose.BODIES).bytes
    bus.publish(BodyHeld(-150))
    assert (450, 0) == (held, budget.used)
