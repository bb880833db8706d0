"""Log lines leave the event loop in batches: a stalled reader of the log stalls nobody else."""

from __future__ import annotations

import os
import select
import threading
import time
from collections import deque
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Literal, TextIO

import msgspec

from gemini_backend import masking

if TYPE_CHECKING:
    from collections.abc import Callable

_STANDARD_ERROR = 2
_CHUNK = 1 << 16

_Done = SimpleQueue[bool]


class LogWriter:
    """Writes lines from a thread of its own, a batch at a time; whoever logs never waits for it.

    Secrets are masked in whatever it writes, unless that is done already. At most `bound` lines
    wait for a reader that stalls; further ones are lost, and so is a batch that cannot be written
    (the reader has gone, the disk is full). The next batch that can be written begins with how many
    were lost. The thread ends with the process, whatever it waits for.
    """

    def __init__(
        self,
        out: TextIO | None = None,
        *,
        form: Literal["json", "text"] = "json",
        bound: int = 20_000,
        delay_seconds: float = 0.05,
    ) -> None:
        """Write to `out`, by default to standard error; `form` is that of the line about losses."""
        self.lost_total = 0
        self._put: Callable[[str], None] = _to_standard_error if out is None else _to(out)
        self._form = form
        self._bound = bound
        self._delay = delay_seconds
        self._lines: deque[tuple[str, bool]] = deque()
        self._unreported = 0
        self._awake = False
        # it may be written to in a signal's handler, as nothing else that wakes a thread may
        self._orders: SimpleQueue[_Done | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def write(self, line: str, *, masked: bool = False) -> None:
        """Take a line, without its line end.

        Args:
            line: The line.
            masked: Whether secrets are masked in all of it that came from elsewhere.
        """
        if len(self._lines) >= self._bound:
            self._lose(1)
            return
        self._lines.append((line, masked))
        if not self._awake:
            self._awake = True
            self._orders.put(None)
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="log", daemon=True)
                self._thread.start()

    def flush(self, seconds: float = 2.0) -> bool:
        """Wait until all that was taken is written; return whether it was within `seconds`."""
        if self._thread is None:
            return True
        done: _Done = SimpleQueue()
        self._orders.put(done)
        try:
            return done.get(timeout=seconds)
        except Empty:
            return False

    def _lose(self, count: int) -> None:
        self.lost_total += count
        self._unreported += count

    def _serve(self) -> None:
        while True:
            orders = [self._orders.get()]
            if orders[0] is None:
                with suppress(Empty):
                    orders.append(self._orders.get(timeout=self._delay))
            self._awake = False
            self._write_out()
            for order in orders:
                if order is not None:
                    order.put(True)  # noqa: FBT003 - a queue takes its item by position

    def _write_out(self) -> None:
        lines = [self._lines.popleft() for _ in range(len(self._lines))]
        lost, self._unreported = self._unreported, 0
        if lost:
            lines.insert(0, (self._loss(lost), True))
        if not lines:
            return
        try:
            shown = [line if masked else masking.text(line) for line, masked in lines]
            self._put("\n".join(shown) + "\n")
        except (OSError, ValueError):  # the second one where `out` is closed
            self._unreported += lost
            self._lose(len(lines) - bool(lost))

    def _loss(self, count: int) -> str:
        facts = {"level": "error", "event": "log_lines_lost", "count": count}
        if self._form == "text":
            return f"error log_lines_lost count={count}"
        return msgspec.json.encode({"ts": round(time.time(), 3), **facts}).decode()


def _to(out: TextIO) -> Callable[[str], None]:
    def put(text: str) -> None:
        out.write(text)
        out.flush()

    return put


def _to_standard_error(text: str) -> None:
    """Write past `sys.stderr`: the end of the process would wait for what is in its buffer.

    Raises:
        OSError: it cannot be written.
    """
    left = memoryview(text.encode(errors="replace"))
    while left:
        try:
            left = left[os.write(_STANDARD_ERROR, left[:_CHUNK]) :]
        except BlockingIOError:  # another process has set the pipe so
            waiting = select.poll()
            waiting.register(_STANDARD_ERROR, select.POLLOUT)
            waiting.poll()
