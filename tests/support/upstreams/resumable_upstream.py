"""An upstream whose stream can be read on after a read was cancelled, as Gemini's can."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gemini_backend.call import AttemptRecord

if TYPE_CHECKING:
    from gemini_backend.call import Call
    from tests.support.clock import FakeClock


class ResumableUpstream:
    """Plays its steps (events, seconds to wait, errors) and counts how it was used."""

    def __init__(self, clock: FakeClock, *steps: Any) -> None:
        """Play `steps` at each run."""
        self.clock = clock
        self.steps = steps
        self.runs = 0
        self.closed = 0
        self.calls: list[Call] = []

    def stream(self, call: Call, _request: Any) -> ResumableEvents:
        """Play the steps, each event a new message."""
        self.runs += 1
        self.calls.append(call)
        call.outcome.attempts.append(AttemptRecord("models/a", self.clock.now()))
        return ResumableEvents(self)


class ResumableEvents:
    """One run of it."""

    resumable = True

    def __init__(self, upstream: ResumableUpstream) -> None:
        """Begin with the first step."""
        self._upstream = upstream
        self._left = list(upstream.steps)
        self._due: float | None = None

    def __aiter__(self) -> ResumableEvents:
        """Iterate."""
        return self

    async def __anext__(self) -> Any:
        """Return the next event when its time has come."""
        clock = self._upstream.clock
        while self._left:
            step = self._left[0]
            if isinstance(step, (int, float)):
                if self._due is None:
                    self._due = clock.now() + step
                await clock.sleep(self._due - clock.now())
                self._due = None
                del self._left[0]
                continue
            del self._left[0]
            if isinstance(step, BaseException):
                self._upstream.closed += 1
                raise step
            return type(step).FromString(step.SerializeToString())
        self._upstream.closed += 1
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Count it."""
        self._upstream.closed += 1
