"""SIGHUP and the file watch: the configuration is read again, and what is live is taken over."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from gemini_backend.commands.file_watch import content_of
from gemini_backend.config import Change, ConfigError, NotKept

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gemini_backend.config import Reloaded, Settings

BY_SIGNAL, BY_WATCH = "reload", "file"

_log = logging.getLogger(__name__)


class Reloader:
    """Reloads, one time after another, and says in the log what became of it.

    Attributes:
        file: The configuration file; empty where there is none.
        taken: Mark of the file's content that was dealt with last, good or not; see `content_of`.
        busy: Whether it was asked and has not yet dealt with it.
    """

    def __init__(
        self,
        file: str,
        read: Callable[[], Settings],
        take: Callable[[Settings, Change], Awaitable[Reloaded]],
        taken: bytes | None = None,
    ) -> None:
        """Wait to be asked.

        Args:
            file: The configuration file, for the log and the history; empty where there is none.
            read: Reads all sources anew; it is called in a thread, since a disk may be slow.
            take: Brings into force what was read.
            taken: Mark of the file's content that the server started with.
        """
        self.file = file
        self.taken = taken
        self._read = read
        self._take = take
        self._asked = asyncio.Event()
        self._by_signal = False
        self._complained = ""
        self.busy = False

    def ask(self) -> None:
        """Have it reloaded, by a signal; several requests before it begins are one."""
        self._by_signal = True
        self.found_changed()

    def found_changed(self) -> None:
        """Have it reloaded, since the file has changed; nothing is done if it has not."""
        self.busy = True
        self._asked.set()

    async def run(self) -> None:
        """Reload whenever asked, until cancelled."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            by_signal, self._by_signal = self._by_signal, False
            await self._reload(by_signal=by_signal)
            self.busy = self._asked.is_set()

    async def _reload(self, *, by_signal: bool) -> None:
        if not self.file:
            why = "there is no configuration file; start the server with --config"
            _log.warning("config_not_reloaded", extra={"reason": why})
            return
        try:
            content = await asyncio.to_thread(content_of, self.file)
            if content == self.taken and not by_signal:
                return
            read = await asyncio.to_thread(self._read)
            done = await self._take(read, self._change(by_signal=by_signal))
        except NotKept as error:  # the file is good, so the watch will ask again
            self._complain(str(error), by_signal=by_signal)
        except ConfigError as error:
            self.taken = content
            self._complain(str(error), by_signal=by_signal)
        except Exception:  # noqa: BLE001 - a defect of a reload must not end the server
            self.taken = content
            _log.error("config_not_reloaded", extra={"reason": "unexpected"}, exc_info=True)
        else:
            self.taken, self._complained = content, ""
            self._say(done)

    def _change(self, *, by_signal: bool) -> Change:
        if by_signal:
            return Change(BY_SIGNAL, f"SIGHUP: {self.file} was read again")
        return Change(BY_WATCH, f"{self.file} has changed")

    def _complain(self, reason: str, *, by_signal: bool) -> None:
        """Log why there was no reload; once for the same reason, unless a signal asks again."""
        if by_signal or reason != self._complained:
            _log.error("config_not_reloaded", extra={"reason": reason, "file": self.file})
        self._complained = reason

    def _say(self, done: Reloaded) -> None:
        facts = {"file": self.file, "revision": done.revision.number}
        _log.info("config_reloaded", extra={**facts, "changed": list(done.taken)})
        if done.waiting:
            _log.warning("config_needs_restart", extra={**facts, "settings": list(done.waiting)})
        if done.hidden:
            _log.warning("config_hidden", extra={**facts, "settings": dict(done.hidden)})
