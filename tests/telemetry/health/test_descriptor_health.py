"""A process without descriptors says so, in health and in the log."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from gemini_backend.telemetry.events import DescriptorsRanOut
from gemini_backend.telemetry.health.descriptor_health import DescriptorHealth
from gemini_backend.telemetry.health.health_rules import RECENT_SECONDS, HealthState
from tests.support.messages.events import heard_by

if TYPE_CHECKING:
    import pytest

    from tests.support.clock import FakeClock


async def test_a_lack_counts_for_a_minute_and_is_one_line(
    clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Degraded from the first attempt without a descriptor to a minute after the last one."""
    health = DescriptorHealth(clock)
    bus = heard_by(health)
    assert HealthState.HEALTHY is health.component().state
    for _ in range(20):
        bus.publish(DescriptorsRanOut("executions/e"))
    part = health.component()
    assert (HealthState.DEGRADED, "descriptors", False) == (part.state, part.name, part.essential)
    assert "raise it" in part.message
    lines = [(one.getMessage(), one.levelno) for one in caplog.records]
    assert [("descriptors_ran_out", logging.ERROR)] == lines
    await clock.advance(RECENT_SECONDS)
    assert HealthState.HEALTHY is health.component().state
