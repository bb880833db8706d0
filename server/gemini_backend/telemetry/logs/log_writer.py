"""Log lines leave the event loop in batches: a stalled reader of the log stalls nobody else."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections import deque
from typing import TextIO

from gemini_backend import masking


class LogWriter:
    """Writes lines from a thread of its own, a batch at a time.

    Secrets are masked in whatever it writes. At most `bound` lines wait; further ones are dropped,
    and the next batch says how many. Used outside a running loop, it writes at once.
    """

    def __init__(
        self, out: TextIO | None = None, *, bound: int = 20_000, delay_seconds: float = 0.05
    ) -> None:
        """Write to `out`, standard error by default."""
        self._out = out
        self._bound = bound
        self._delay = delay_seconds
        self._lines: deque[str] = deque()
        self._dropped = 0
        self._scheduled = False
        self._lock = threading.Lock()

    def write(self, line: str) -> None:
        """Take a line, without its line end."""
        if len(self._lines) >= self._bound:
            self._dropped += 1
            return
        self._lines.append(line)
        if self._scheduled:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.flush()
            return
        self._scheduled = True
        loop.call_later(self._delay, self._hand_over, loop)

    def flush(self) -> None:
        """Write all that waits, in this thread."""
        with self._lock:
            lines = [self._lines.popleft() for _ in range(len(self._lines))]
            dropped, self._dropped = self._dropped, 0
            if dropped:
                lines.append(f'{{"level":"warning","event":"log_lines_dropped","count":{dropped}}}')
            if not lines:
                return
            out = self._out or sys.stderr
            out.write(masking.text("\n".join(lines)) + "\n")
            out.flush()

    def _hand_over(self, loop: asyncio.AbstractEventLoop) -> None:
        self._scheduled = False
        loop.run_in_executor(None, self.flush)
