"""A body that a test writes step by step, on a clock that it moves; no socket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gemini_backend.upstream.gemini.client import GeminiUpstream
from gemini_backend.upstream.gemini.options import GeminiOptions

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.support.clock import FakeClock


class Script:
    """Plays one body: bytes arrive, numbers are seconds of silence, errors break it off.

    It is in place of an `Exchange`, and of the `Transport` that gives it. After the last step the
    body ends, or, with None as the last step, never does.
    """

    status = 200
    content_type = "text/event-stream"

    def __init__(self, clock: FakeClock, *steps: Any, in_mid_chunk: bool = False) -> None:
        self.clock = clock
        self.in_mid_chunk = in_mid_chunk
        self.closed = 0
        self._steps = list(steps)

    async def read(self) -> bytes:
        """Return the next bytes."""
        while self._steps:
            step = self._steps.pop(0)
            if isinstance(step, bytes):
                return step
            if isinstance(step, BaseException):
                raise step
            await self.clock.sleep(1e9 if step is None else step)
        return b""

    def header(self, _name: str) -> str:
        """Return no header."""
        return ""

    def close(self) -> None:
        """Count that the connection was given up."""
        self.closed += 1

    async def send(self, *_args: Any, **_more: Any) -> Script:
        """Give the head of the answer at once."""
        return self


def upstream_of(script: Script, *, merge: bool = False) -> GeminiUpstream:
    """Return an upstream, every call of which is answered by this script."""
    options = GeminiOptions(base_url="http://test", api_keys=("k",), merge_deltas=merge)
    made = GeminiUpstream(options, script.clock)
    made._transport = script  # type: ignore[assignment] # it has what is called here
    return made


def apart(events: Iterable[bytes], seconds: float) -> list[Any]:
    """Return steps: each event after a silence."""
    return [step for event in events for step in (seconds, event)]
