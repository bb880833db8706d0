"""API keys on a store in a folder, by a clock that the test moves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_backend.clock import SystemClock
from gemini_backend.identity.api_keys import ApiKeys, KeyRecord, NewKey, open_keys
from gemini_backend.telemetry.events import Bus, CredentialEnded
from tests.support.clock import FakeClock

if TYPE_CHECKING:
    from pathlib import Path

EPOCH = 1_700_000_000.0
HASH_KEY = bytes(range(32))


class OneKey:
    """A keyring with one key for every purpose."""

    def __init__(self, key: bytes = HASH_KEY) -> None:
        self._key = key

    def key(self, _purpose: str) -> bytes:
        return self._key


class KeyDesk:
    """The keys of one process; several may share a folder."""

    def __init__(self, folder: Path, clock: FakeClock | None = None, key: bytes = HASH_KEY) -> None:
        self.clock = clock or FakeClock()
        self.ended: list[str] = []
        bus = Bus()
        bus.subscribe(CredentialEnded, lambda event: self.ended.append(event.api_key))
        store = open_keys(str(folder), OneKey(key), clock=SystemClock())
        self.keys = ApiKeys(store, clock=self.clock, wall=self.wall, bus=bus)

    def wall(self) -> float:
        """Return seconds since the epoch."""
        return EPOCH + self.clock.now()

    async def create(self, principal: str = "", **fields: object) -> tuple[KeyRecord, str]:
        """Make a key of the tenant `acme`, unless it is said otherwise."""
        given: dict[str, object] = {"tenant": "acme", "principal": principal, **fields}
        return await self.keys.create(NewKey(**given))  # type: ignore[arg-type] # as given

    async def aclose(self) -> None:
        await self.keys.aclose()
