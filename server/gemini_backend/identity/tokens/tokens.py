"""Tokens to principals: each is verified once, and known until it expires or its key is gone."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

from cachetools import LRUCache

from gemini_backend.errors import Unauthenticated
from gemini_backend.identity.tokens.claims import check_claims
from gemini_backend.identity.tokens.current_keys import CurrentKeys
from gemini_backend.identity.tokens.key_sources import source_of
from gemini_backend.identity.tokens.parsing import MAX_CHARACTERS, parsed
from gemini_backend.identity.tokens.principals import principal_by

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gemini_backend.clock import Clock
    from gemini_backend.config.sections.auth import JwtOptions
    from gemini_backend.identity.tokens.key_set import Key
    from gemini_backend.principal import Principal
    from gemini_backend.telemetry.health.health_report import Component

MAX_KNOWN = 10_000
"""Tokens that are known; beyond it the one that was not used for longest is verified again."""


class _Known(NamedTuple):
    principal: Principal
    until: float  # seconds since the epoch
    key: Key


class Tokens:
    """The tokens of `auth.jwt`."""

    def __init__(self, options: JwtOptions, keys: CurrentKeys, wall: Callable[[], float]) -> None:
        """Verify by `keys`; `wall` gives seconds since the epoch."""
        self._options = options
        self._keys = keys
        self._wall = wall
        # by the digest of the whole token, so that no other text is ever taken for it
        self._known: LRUCache[bytes, _Known] = LRUCache(MAX_KNOWN)
        keys.on_change(self._forget_others)

    @classmethod
    def of(
        cls,
        options: JwtOptions,
        clock: Clock,
        wall: Callable[[], float],
        environ: Mapping[str, str],
    ) -> Tokens:
        """Return what verifies tokens by the options; `environ` may name a proxy."""
        keys = CurrentKeys(source_of(options, environ), options, clock)
        return cls(options, keys, wall)

    async def start(self) -> None:
        """Begin to read the issuer's keys.

        Raises:
            ConfigError: they are in a file, and it cannot be used.
        """
        await self._keys.start()

    async def aclose(self) -> None:
        """Stop reading the issuer's keys."""
        await self._keys.aclose()

    def component(self) -> Component:
        """Say how the issuer's keys are."""
        return self._keys.component()

    def known(self, token: str) -> Principal | None:
        """Return the principal of a token that was verified before and is still good.

        None for any other: it is to be verified.
        """
        if len(token) > MAX_CHARACTERS or not token.isascii():
            return None
        digest = _digest(token)
        found = self._known.get(digest)
        if found is None:
            return None
        if found.until <= self._wall():
            del self._known[digest]
            return None
        return found.principal

    async def verify(self, token: str) -> Principal:
        """Return the principal of a token.

        Raises:
            Unauthenticated: it is not a good token, for the reason that the message has.
            StoreUnavailable: the issuer's keys could not be read so far.
        """
        said = parsed(token)
        expires = check_claims(said.claims, self._options, self._wall())
        key = await self._keys.key_for(said.algorithm, said.kid)
        if not key.verifies(said.algorithm, said.signed, said.signature):
            msg = "the token's signature is wrong; ask the issuer for a new token"
            raise Unauthenticated(msg)
        principal = principal_by(said.claims, self._options, expires)
        until = expires + self._options.leeway_seconds
        self._known[_digest(token)] = _Known(principal, until, key)
        return principal

    def _forget_others(self, keys: frozenset[Key]) -> None:
        """Forget the tokens whose key is gone."""
        gone = [digest for digest, known in self._known.items() if known.key not in keys]
        for digest in gone:
            del self._known[digest]


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
