"""The keys in memory: who presents a secret, without waiting for anything."""

from __future__ import annotations

import hmac
import logging
import os
import sys
from typing import TYPE_CHECKING

import msgspec

from gemini_backend.identity.api_keys.record import principal_of, rights_of
from gemini_backend.identity.api_keys.secret import HASH_BYTES, id_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gemini_backend.identity.api_keys.record import KeyRecord, Rights
    from gemini_backend.identity.api_keys.secret import Hasher
    from gemini_backend.principal import Principal

_log = logging.getLogger(__name__)


class _Known:
    """A key that is not revoked; its principal is made when it is first presented."""

    __slots__ = ("digest", "expires", "previous", "previous_expires", "principal", "rights")

    def __init__(self, record: KeyRecord, rights: Rights | None) -> None:
        self.digest = record.digest
        self.previous = record.previous
        self.previous_expires = record.previous_expires or 0.0
        self.expires = record.expires
        self.rights = rights
        self.principal: Principal | None = None

    def accepts(self, digest: bytes, wall: Callable[[], float]) -> bool:
        """Say whether it has this hash now; comparing takes as long wherever two differ."""
        if not hmac.compare_digest(digest, self.digest):
            previous = self.previous
            if previous is None or not hmac.compare_digest(digest, previous):
                return False
            if wall() >= self.previous_expires:
                return False
        return self.expires is None or wall() < self.expires


class KnownKeys:
    """All keys that are not revoked, by their ids; at most `key_store.MOST_KEYS`.

    Attributes:
        used: Ids of keys that were presented since somebody has taken them out.
    """

    def __init__(self, wall: Callable[[], float]) -> None:
        """Know no key; `wall` gives the time of day by which keys expire."""
        self.hasher: Hasher | None = None
        self.used: set[str] = set()
        self._wall = wall
        self._keys: dict[str, _Known] = {}
        # what a secret is compared with whose id is unknown, so that it takes as long
        self._nobody = os.urandom(HASH_BYTES)

    def __len__(self) -> int:
        """Return how many keys are held."""
        return len(self._keys)

    def find(self, secret: str) -> Principal | None:
        """Return whose secret it is; None if it is not known to be accepted now."""
        key = id_in(secret)
        if key is None or self.hasher is None:
            return None
        digest = self.hasher.of(secret)
        known = self._keys.get(key)
        if known is None:
            hmac.compare_digest(digest, self._nobody)
            return None
        if not known.accepts(digest, self._wall) or known.rights is None:
            return None
        self.used.add(key)
        if known.principal is None:
            known.principal = principal_of(key, known.rights)
        return known.principal

    def take(self, records: Iterable[KeyRecord]) -> list[str]:
        """Take over keys as they are now; return the ids of those that are revoked since."""
        ended = []
        for record in records:
            before = self._keys.get(record.key)
            if record.revoked is None:
                self._keys[record.key] = _taken(record, before)
            elif before is not None:
                del self._keys[record.key]
                self.used.discard(record.key)
                ended.append(record.key)
        return ended


def _taken(record: KeyRecord, before: _Known | None) -> _Known:
    """Return a key to be held; its principal is the one before unless its rights have changed."""
    try:
        rights = rights_of(record)
    except msgspec.DecodeError:
        why = "its allowed models cannot be read; revoke it and create another key"
        _log.error("api_key_unusable", extra={"api_key": record.key, "problem": why})
        return _Known(record, None)
    if before is not None and before.rights == rights:
        taken = _Known(record, before.rights)
        taken.principal = before.principal
        return taken
    tenant, roles = sys.intern(rights.tenant), sys.intern(rights.roles)
    return _Known(record, rights._replace(tenant=tenant, roles=roles))
