"""Every call has a deadline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gemini_backend.config.sections.execution import ExecutionOptions
from gemini_backend.errors import DeadlineTooShort
from gemini_backend.policies.checks.deadline import Deadline
from tests.support.layers.alone import Alone
from tests.support.messages.calls import make_call

if TYPE_CHECKING:
    from tests.support.clock import FakeClock

OPTIONS = ExecutionOptions(
    default_deadline_seconds=10, max_deadline_seconds=20, min_deadline_ms=100
)


@pytest.mark.parametrize(("asked", "granted"), [(None, 10), (5, 5), (20, 20), (1000, 20)])
def test_deadline_is_the_callers_within_bounds(
    clock: FakeClock, asked: float | None, granted: float
) -> None:
    """A caller gets its own deadline, the maximum, or the default when it names none."""
    call = make_call(clock, deadline=asked)
    call = Deadline(lambda: OPTIONS, clock).clipped(call)
    assert granted == call.remaining(clock.now())


@pytest.mark.parametrize("left", [0, 0.05])
async def test_a_call_that_cannot_fit_is_refused_at_once(clock: FakeClock, left: float) -> None:
    """Too little time left is refused before anything is done."""

    async def never(_call: Any, _request: Any) -> Any:
        pytest.fail("the call went on")

    policy = Alone(Deadline(lambda: OPTIONS, clock))
    with pytest.raises(DeadlineTooShort, match="set a later deadline"):
        await policy.unary(make_call(clock, deadline=left), None, never)
    with pytest.raises(DeadlineTooShort):
        await anext(policy.stream(make_call(clock, deadline=left), None, never))
