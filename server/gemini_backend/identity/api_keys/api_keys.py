"""Who presents an API key; and keys made, rotated and revoked while the server runs.

All keys are in memory, so that a known one costs no wait. What another process has changed, such as
`gemini-backend keys`, is found by a look at the store: once a second, and before a secret is
refused that may have been made since.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from gemini_backend.errors import ServiceError, StoreUnavailable, Unauthenticated
from gemini_backend.identity.api_keys.known_keys import KnownKeys
from gemini_backend.identity.api_keys.secret import id_in
from gemini_backend.telemetry.events import SILENT, CredentialEnded
from gemini_backend.telemetry.health.health_report import Component
from gemini_backend.telemetry.health.health_rules import HealthState

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini_backend.clock import Clock
    from gemini_backend.identity.api_keys.key_store import KeyStore
    from gemini_backend.identity.api_keys.record import KeyRecord, NewKey
    from gemini_backend.principal import Principal
    from gemini_backend.telemetry.events import Publisher

WATCH_SECONDS: Final = 1.0
"""How often changes of other processes are looked for."""
LOOK_SECONDS: Final = 0.25
"""Time between two looks that refused secrets cause, however many there are."""
TOUCH_SECONDS: Final = 60.0
"""How often it is written down which keys were used."""
_log = logging.getLogger(__name__)
# How many are read, or written, in one visit to the store.
_AT_ONCE = 500

REFUSED: Final = (
    "the API key is not accepted; send a key of this server that is neither expired nor revoked as "
    "`authorization: Bearer KEY`, or ask an administrator for one (gemini-backend keys create)"
)
"""The one answer to every secret that is not accepted: it does not say why."""
_REVOKED = "the API key was revoked; ask an administrator for another one"


class ApiKeys:
    """The keys of this server, in memory and in the store behind it."""

    def __init__(
        self,
        store: KeyStore,
        *,
        clock: Clock,
        wall: Callable[[], float],
        bus: Publisher = SILENT,
    ) -> None:
        """Know no key before the first look; nothing is opened yet.

        Args:
            store: Where keys are kept.
            clock: Times the looks.
            wall: Gives the time of day, by which keys expire.
            bus: Where `CredentialEnded` is published.
        """
        self.store = store
        self._known = KnownKeys(wall)
        self._clock = clock
        self._wall = wall
        self._bus = bus
        self._seen = 0
        self._problem = ""
        self._looking = asyncio.Lock()
        self._looked: float | None = None
        self._next: asyncio.Task[None] | None = None
        self._looks: set[asyncio.Task[None]] = set()

    def known(self, secret: str) -> Principal | None:
        """Return whose key it is, without waiting; None if that is not known.

        The principal is the same object for as long as the key does not change.
        """
        return self._known.find(secret)

    async def verify(self, secret: str) -> Principal:
        """Return whose key it is, after a look at the store if it is not known.

        Looks are shared and at least `LOOK_SECONDS` apart, so that secrets that somebody has
        invented do not keep the store busy.

        Raises:
            Unauthenticated: it is no secret that is accepted.
            StoreUnavailable: it is not known, and the store cannot be read.
        """
        found = self._known.find(secret)
        if found is None and id_in(secret) is not None:
            try:
                await asyncio.shield(self._next_look())
            except ServiceError as error:
                # what is wrong with the store is the operator's to know: health and the log say it
                msg = "API keys cannot currently be verified; retry"
                raise StoreUnavailable(msg, retry_after=error.retry_after) from error
            found = self._known.find(secret)
        if found is None:
            raise Unauthenticated(REFUSED)
        return found

    async def refresh(self) -> None:
        """Take over what has changed in the store.

        Raises:
            StoreUnavailable: it cannot be read; the keys that are known stay so.
        """
        async with self._looking:
            try:
                await self._catch_up()
            except ServiceError as error:
                self._note(error.message)
                raise
            self._problem = ""

    async def run(self) -> None:
        """Follow the store, and write down what was used, until cancelled."""
        touched = self._clock.now()
        while True:
            try:
                await self.refresh()
                if self._clock.now() - touched >= TOUCH_SECONDS:
                    touched = self._clock.now()
                    await self.flush()
            except ServiceError:
                pass  # it has been noted: health says so, and it is tried again
            except Exception:  # noqa: BLE001 - without the watch no revocation would be seen
                self._note("the keys cannot be read: unexpected, see the log", exc_info=True)
            await self._clock.sleep(WATCH_SECONDS)

    async def flush(self) -> None:
        """Write down which keys were used.

        Raises:
            StoreUnavailable: it cannot be written; that is tried again by the next one.
        """
        used, now = sorted(self._known.used), self._wall()
        for start in range(0, len(used), _AT_ONCE):
            some = used[start : start + _AT_ONCE]
            self._known.used.difference_update(some)
            try:
                await self.store.touch(some, now)
            except BaseException:
                self._known.used.update(some)
                raise

    async def create(self, new: NewKey) -> tuple[KeyRecord, str]:
        """Make a key, which is known at once; see `KeyStore.create`."""
        record, secret = await self.store.create(new, self._wall())
        self._known.take([record])
        return record, secret

    async def rotate(self, key: str, overlap: float) -> tuple[KeyRecord, str] | None:
        """Give a key a new secret, which is known at once; see `KeyStore.rotate`."""
        made = await self.store.rotate(key, self._wall(), overlap)
        if made is not None:
            self._known.take([made[0]])
        return made

    async def revoke(self, key: str) -> KeyRecord | None:
        """Revoke a key, which is accepted no more from now on; see `KeyStore.revoke`."""
        record = await self.store.revoke(key, self._wall())
        if record is not None:
            self._end(self._known.take([record]))
        return record

    def component(self) -> Component:
        """Say how the store is; keys that are known are accepted without it."""
        problem, used = self._problem or self.store.database.problem, self.store.database.used
        state = HealthState.HEALTHY if used else HealthState.UNKNOWN
        if problem:
            state = HealthState.DEGRADED
        return Component("identity", state, problem or ("" if used else "no API key was used yet"))

    async def aclose(self) -> None:
        """Write down which keys were used, and close the store."""
        for look in self._looks:
            look.cancel()
        await asyncio.gather(*self._looks, return_exceptions=True)
        try:
            await self.flush()
        except ServiceError:
            pass  # only when keys were last used is lost, and the store has noted why
        finally:
            await self.store.aclose()

    async def _catch_up(self) -> None:
        if self._known.hasher is None:
            self._known.hasher = await self.store.hasher()
        more = True
        while more:
            records, self._seen = await self.store.changed(self._seen, _AT_ONCE)
            more = len(records) == _AT_ONCE
            self._end(self._known.take(records))

    def _note(self, problem: str, *, exc_info: bool = False) -> None:
        """Keep what is wrong; each problem is logged once, until a look succeeds."""
        if problem != self._problem:
            _log.error("identity", extra={"problem": problem}, exc_info=exc_info)
        self._problem = problem

    def _end(self, revoked: list[str]) -> None:
        for key in revoked:
            self._bus.publish(CredentialEnded(key, _REVOKED))

    def _next_look(self) -> asyncio.Task[None]:
        """Return the look at the store that begins next, for all who wait for it."""
        if self._next is None:
            self._next = look = asyncio.create_task(self._look())
            self._looks.add(look)
            look.add_done_callback(self._ended)
        return self._next

    async def _look(self) -> None:
        if self._looked is not None:
            pause = self._looked + LOOK_SECONDS - self._clock.now()
            if pause > 0:
                await self._clock.sleep(pause)
        self._looked, self._next = self._clock.now(), None
        await self.refresh()

    def _ended(self, look: asyncio.Task[None]) -> None:
        """Let go of a look, and take note of a failure that nobody waits for any more."""
        self._looks.discard(look)
        if not look.cancelled():
            look.exception()
