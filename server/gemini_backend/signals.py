"""What signals mean to a process that serves until it is told to stop.

SIGTERM and SIGINT ask for an orderly end; a second one for an end at once, which comes within
`HURRY_SECONDS` whatever the process is doing; a third one ends it there and then. A signal that
would end a process by default and has no meaning here is ignored, with a line in the log.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
import time
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

HURRY_SECONDS = 3.0
STOPPING = (signal.SIGTERM, signal.SIGINT)
# Those whose default ends the process, but for defects (SIGSEGV) and limits (SIGXCPU).
OTHERS = tuple(
    getattr(signal, name)
    for name in (
        *("SIGHUP", "SIGUSR1", "SIGUSR2", "SIGQUIT", "SIGALRM", "SIGVTALRM", "SIGPROF", "SIGPIPE"),
        *("SIGIO", "SIGPWR", "SIGSTKFLT"),
    )
    if hasattr(signal, name)
) + tuple(range(getattr(signal, "SIGRTMIN", 0), getattr(signal, "SIGRTMAX", -1) + 1))

_log = logging.getLogger(__name__)


def ignore_until_ready() -> None:
    """Ignore what would end the process by default, until `Signals` gives it a meaning.

    SIGTERM and SIGINT end it at once, without a trace.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    for number in OTHERS:
        _take(number, signal.SIG_IGN)


class Signals:
    """The signals of one process, from when it is made, on the running loop, to its end."""

    def __init__(self, last_words: Callable[[], object] | None = None) -> None:
        """Take over the signals.

        Args:
            last_words: Is called, in a thread, before the process is ended by force.
        """
        self.stop = asyncio.Event()
        self.hurry = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._last_words = last_words
        self._stops = 0
        self._limits: SimpleQueue[float] = SimpleQueue()
        threading.Thread(target=self._end_late, name="end", daemon=True).start()
        for number in STOPPING:
            signal.signal(number, self._asked_to_stop)
        for number in OTHERS:
            if number != signal.SIGPIPE:  # each write to a closed pipe would raise one
                _take(number, self._ignored)

    def on(self, number: signal.Signals, handle: Callable[[], None]) -> None:
        """Call `handle` on the loop at each signal of this number."""
        signal.signal(number, lambda *_: self._soon(handle))

    def at_once(self, number: signal.Signals, handle: Callable[[], None]) -> None:
        """Call `handle` wherever the process is at that moment, also if its loop hangs."""
        signal.signal(number, lambda *_: handle())

    def end_within(self, seconds: float) -> None:
        """End the process in `seconds` at the latest, with code 0, whatever it is doing."""
        self._limits.put(seconds)

    def _asked_to_stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stops += 1
        if self._stops == 1:
            self._soon(self.stop.set)
            return
        # not by the loop, which may be what hangs
        self.end_within(HURRY_SECONDS if self._stops == 2 else 0.0)  # noqa: PLR2004 - see the module
        self._soon(self.hurry.set)

    def _ignored(self, number: int, _frame: FrameType | None) -> None:
        self._soon(lambda: _log.warning("signal_ignored", extra={"signal": _name(number)}))

    def _soon(self, handle: Callable[[], None]) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(handle)

    def _end_late(self) -> None:
        """Wait for limits; end the process when the earliest of them has passed."""
        end: float | None = None
        while True:
            try:
                seconds = self._limits.get(timeout=end and max(0.0, end - time.monotonic()))
            except Empty:
                break
            limit = time.monotonic() + seconds
            end = limit if end is None else min(end, limit)
        if self._last_words is not None:
            self._last_words()
        os._exit(0)


def _take(number: int, handle: Callable[[int, FrameType | None], None] | signal.Handlers) -> None:
    """Give a signal a meaning, if it may be given one: debuggers keep some for themselves."""
    with suppress(OSError):
        signal.signal(number, handle)


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIGRTMIN+{number - signal.SIGRTMIN}"
