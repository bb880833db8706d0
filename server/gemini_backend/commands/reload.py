"""SIGHUP: the configuration is read again, and what may change while the server runs is taken."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from gemini_backend.config import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini_backend.config import Reloaded, Settings

_log = logging.getLogger(__name__)


class Reloader:
    """Reloads, one time after another, and says in the log what became of it."""

    def __init__(
        self,
        file: str,
        read: Callable[[], Settings],
        take: Callable[[Settings, str], Reloaded],
    ) -> None:
        """Wait to be asked.

        Args:
            file: The configuration file, for the log and the history; empty where there is none.
            read: Reads all sources anew; it is called in a thread, since a disk may be slow.
            take: Brings into force what was read, with a comment.
        """
        self._file = file
        self._read = read
        self._take = take
        self._asked = asyncio.Event()

    def ask(self) -> None:
        """Have it reloaded; several requests before it begins are one."""
        self._asked.set()

    async def run(self) -> None:
        """Reload whenever asked, until cancelled."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            await self._reload()

    async def _reload(self) -> None:
        if not self._file:
            why = "there is no configuration file; start the server with --config"
            _log.warning("config_not_reloaded", extra={"reason": why})
            return
        try:
            read = await asyncio.to_thread(self._read)
            done = self._take(read, f"SIGHUP: {self._file} was read again")
        except ConfigError as error:
            _log.error("config_not_reloaded", extra={"reason": str(error), "file": self._file})
            return
        except Exception:  # noqa: BLE001 - a defect of a reload must not end the server
            _log.error("config_not_reloaded", extra={"reason": "unexpected"}, exc_info=True)
            return
        facts = {"file": self._file, "revision": done.revision.number}
        _log.info("config_reloaded", extra={**facts, "changed": list(done.taken)})
        if done.kept:
            _log.warning("config_needs_restart", extra={**facts, "settings": list(done.kept)})
