"""Every call has a deadline: the caller's, clipped to the maximum, or the default."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_backend.call import FixedBudget
from gemini_backend.errors import DeadlineTooShort
from gemini_backend.policies.relay import Hook

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini_backend.call import Call
    from gemini_backend.clock import Clock
    from gemini_backend.config.sections.execution import ExecutionOptions
    from gemini_backend.policies.relay import Run


class Deadline(Hook):
    """Sets the deadline of the call's budget, one for all that follows."""

    at_once = True

    def __init__(self, options: Callable[[], ExecutionOptions], clock: Clock) -> None:
        """Read the options anew for each call, so that a change counts from the next one on."""
        self._options = options
        self._clock = clock

    def begin(self, run: Run, /) -> None:
        """Narrow the call.

        Raises:
            DeadlineTooShort: there is hardly any time left.
        """
        run.call = self.clipped(run.call)

    def clipped(self, call: Call) -> Call:
        """Return the call with the deadline that holds.

        Raises:
            DeadlineTooShort: there is hardly any time left.
        """
        options = self._options()
        now = self._clock.now()
        asked = call.budget.deadline
        left = options.default_deadline_seconds if asked is None else max(0.0, asked - now)
        if asked is not None and left * 1000 < options.min_deadline_ms:
            msg = (
                f"the deadline leaves {left * 1000:.3f} ms and at least "
                f"{options.min_deadline_ms} ms are needed; set a later deadline"
            )
            raise DeadlineTooShort(msg)
        deadline, longest = now + left, options.max_deadline_seconds
        if left > longest:
            deadline = now + longest
        return call.narrowed(budget=FixedBudget(deadline))

    def __repr__(self) -> str:
        """Name the policy and its options."""
        options = self._options()
        return (
            f"Deadline(default={options.default_deadline_seconds:g} s, "
            f"max={options.max_deadline_seconds:g} s, min={options.min_deadline_ms} ms)"
        )
