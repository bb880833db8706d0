"""The certificates in use, and a watch for new ones: new connections use them, open ones stay."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from gemini_backend.tls.material import load, signature_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini_backend.clock import Clock
    from gemini_backend.config.sections.server import ServerOptions
    from gemini_backend.tls.material import Material

_log = logging.getLogger(__name__)


class LiveCertificates:
    """Hands out what was loaded last; files that cannot be used leave it as it is.

    Attributes:
        current: What new connections use. Any thread may read it.
        problem: Why the files as they are now are not in use; empty where they are.
    """

    def __init__(
        self,
        options: ServerOptions,
        clock: Clock,
        *,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Load the files of `options`.

        Args:
            options: Where the files are, and how often to look at them.
            clock: Waits between two looks.
            wall: Gives seconds since the epoch, for the log.

        Raises:
            OSError: they cannot be used; the message says why.
        """
        self.current: Material = load(options)
        self.problem = ""
        self._options = options
        self._clock = clock
        self._wall = wall
        self._asked = asyncio.Event()

    def ask(self) -> None:
        """Have the files read again now, whether or not they have changed."""
        self._asked.set()

    async def run(self) -> None:
        """Look at the files again and again, until cancelled."""
        while True:
            asked = await self._next()
            try:
                await self.look(asked=asked)
            except Exception:  # noqa: BLE001 - a defect here must not end the watch
                _log.error("certificates_not_reloaded", extra={"reason": "?"}, exc_info=True)

    async def look(self, *, asked: bool = False) -> bool:
        """Load the files if they have changed, or if `asked`; return whether they are in use now.

        Files that do not fit each other yet are looked at again next time, and logged once.
        """
        seen = await asyncio.to_thread(signature_of, self._options)
        if seen == self.current.signature and not asked:
            self.problem = ""
            return False
        try:
            loaded = await asyncio.to_thread(load, self._options)
        except OSError as error:
            if asked or str(error) != self.problem:
                facts = {"reason": str(error), "in_use": self.current.chain[0].subject}
                _log.error("certificates_not_reloaded", extra=facts)
            self.problem = str(error)
            return False
        self.current, self.problem = loaded, ""
        own = loaded.chain[0]
        days = (min(one.not_after for one in loaded.chain) - self._wall()) / 86_400
        facts = {"subject": own.subject, "expires_in_days": f"{days:.1f}"}
        _log.info("certificates_reloaded", extra=facts)
        return True

    async def _next(self) -> bool:
        """Wait for the next look; return whether it was asked for."""
        interval = self._options.tls_reload_seconds
        waiting = asyncio.ensure_future(self._asked.wait())
        others = [asyncio.ensure_future(self._clock.sleep(interval))] if interval else []
        try:
            await asyncio.wait([waiting, *others], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in (waiting, *others):
                one.cancel()
        asked = self._asked.is_set()
        self._asked.clear()
        return asked
