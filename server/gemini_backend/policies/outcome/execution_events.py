"""An execution's own story: events are numbered, timed, and a failure says how far it came.

Its start and its end are published.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_backend.policies.outcome.event_pieces import DEFAULT_MAX_BYTES
from gemini_backend.policies.outcome.execution_story import ExecutionStory
from gemini_backend.policies.relay import Hook
from gemini_backend.telemetry.events import ExecutionStarted

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini_backend.clock import Clock
    from gemini_backend.policies.relay import Run
    from gemini_backend.telemetry.events import Publisher


class ExecutionEvents(Hook):
    """Numbers the events, fills in times and attempts, and publishes start and end.

    Events that are larger than the caller takes are cut first, so that each piece has a number.
    """

    def __init__(
        self,
        clock: Clock,
        bus: Publisher,
        max_event_bytes: Callable[[], int] = lambda: DEFAULT_MAX_BYTES,
    ) -> None:
        """Read times off `clock`.

        Args:
            clock: Times the events.
            bus: Where start and end are published.
            max_event_bytes: Gives the size of an event for requests that name none.
        """
        self._clock = clock
        self._bus = bus
        self._max_event_bytes = max_event_bytes

    def begin(self, run: Run, /) -> None:
        """Publish the start; all else is the watch's."""
        call, principal = run.call, run.call.principal
        self._bus.publish(
            ExecutionStarted(
                call.execution, call.method, call.work, principal.tenant, principal.name
            )
        )
        most = 0
        if run.streams:
            most = run.request.max_event_bytes or self._max_event_bytes()
        run.watches.append(ExecutionStory(call, self._clock, self._bus, most))

    def __repr__(self) -> str:
        """Name the policy."""
        return "ExecutionEvents()"
