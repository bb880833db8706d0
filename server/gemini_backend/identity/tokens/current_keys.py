"""The issuer's keys as they are now: read again and again, and when a token has an unknown one."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from gemini_backend.config.errors import ConfigError
from gemini_backend.errors import StoreUnavailable, Unauthenticated
from gemini_backend.identity.tokens.key_set import Key, KeySet, UnusableKeysError
from gemini_backend.identity.tokens.key_sources import FileKeys
from gemini_backend.telemetry.health.health_report import Component
from gemini_backend.telemetry.health.health_rules import HealthState

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini_backend.clock import Clock
    from gemini_backend.config.sections.auth import JwtOptions
    from gemini_backend.identity.tokens.key_sources import KeySource

RETRY_SECONDS = 30.0
"""After a failure the source is asked again at the latest after so long."""
MAX_WAITING = 1000
"""Calls that wait for one answer of the source; beyond it they are refused as with unknown keys."""

_log = logging.getLogger(__name__)


class CurrentKeys:
    """The keys of one source.

    A source that fails changes nothing: what was read last stays in force for as long as the outage
    lasts. What a source says is in force at once: a key that it does not have any more is gone.
    """

    def __init__(self, source: KeySource, options: JwtOptions, clock: Clock) -> None:
        """Have read nothing yet."""
        self._source = source
        self._accepted = options.algorithms
        self._unknown_seconds = options.unknown_key_seconds
        self._clock = clock
        self._set: KeySet | None = None
        self._problem = ""
        self._reading: asyncio.Task[None] | None = None
        self._refreshing: asyncio.Task[None] | None = None
        self._waiting = 0
        self._asked = float("-inf")  # when a token with an unknown key last caused a reading
        self._changed: list[Callable[[frozenset[Key]], None]] = []

    def on_change(self, heard: Callable[[frozenset[Key]], None]) -> None:
        """Call `heard` with the keys whenever they are others than before."""
        self._changed.append(heard)

    async def start(self) -> None:
        """Begin to read, now and then again; an address is not waited for.

        Raises:
            ConfigError: the keys are in a file, and it cannot be used.
        """
        if isinstance(self._source, FileKeys):
            await self._read()
            if self._problem:
                msg = f"auth.jwt.jwks_file {self._source.name}: {self._problem}"
                raise ConfigError.at(msg, "auth.jwt.jwks_file")
        self._refreshing = asyncio.create_task(self._refresh(), name="jwks")

    async def aclose(self) -> None:
        """Stop reading."""
        running = [task for task in (self._refreshing, self._reading) if task is not None]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def key_for(self, algorithm: str, kid: str | None) -> Key:
        """Return the key that a token must be signed with.

        One that is not known is asked for, at most once in `auth.jwt.unknown_key_seconds` for all
        callers together.

        Raises:
            Unauthenticated: there is no such key, or there are several.
            StoreUnavailable: no keys could be read so far.
        """
        if algorithm not in self._accepted:
            msg = "the token's algorithm (alg) is not accepted here; use one of the configured"
            raise Unauthenticated(msg)
        found = self._fitting(algorithm, kid)
        if not found and self._may_ask():
            await self._asked_for()
            found = self._fitting(algorithm, kid)
        if self._set is None:
            msg = (
                "the public keys of the tokens' issuer could not be loaded so far; try again, or "
                "have the operator look at the component jwt_keys of the health report"
            )
            raise StoreUnavailable(msg, retry_after=self._unknown_seconds)
        if len(found) != 1:
            raise _no_key(kid, several=bool(found))
        return found[0]

    def component(self) -> Component:
        """Say how the keys are."""
        name = "jwt_keys"
        if self._set is None:
            if not self._problem:
                return Component(name, HealthState.UNKNOWN, "the keys have not been loaded yet")
            message = f"no keys of {self._source.name}, so that no JWT is accepted: {self._problem}"
            return Component(name, HealthState.UNHEALTHY, message)
        if not self._set.keys:
            message = f"{self._source.name} has no usable key, so that no JWT is accepted"
            return Component(name, HealthState.UNHEALTHY, message)
        if self._problem:
            message = f"the keys of {self._source.name} are not refreshed: {self._problem}"
            return Component(name, HealthState.DEGRADED, message)
        return Component(name, HealthState.HEALTHY, "")

    def _fitting(self, algorithm: str, kid: str | None) -> list[Key]:
        return [] if self._set is None else self._set.fitting(algorithm, kid)

    def _may_ask(self) -> bool:
        if self._reading is not None and not self._reading.done():
            return self._waiting < MAX_WAITING
        now = self._clock.now()
        if now - self._asked < self._unknown_seconds:
            return False
        self._asked = now
        return True

    async def _asked_for(self) -> None:
        self._waiting += 1
        try:
            await self._shared()
        finally:
            self._waiting -= 1

    async def _shared(self) -> None:
        """Wait for the reading that is under way, or begin one."""
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read(), name="jwks-read")
        await asyncio.shield(self._reading)

    async def _refresh(self) -> None:
        while True:
            try:
                await self._shared()
            except Exception:  # noqa: BLE001 - a defect; tokens are verified by the keys that are there
                _log.exception("jwks_refresh_failed")
                self._problem = "an unexpected error, which the log has"
            most = RETRY_SECONDS if self._problem else float("inf")
            await self._clock.sleep(min(self._source.seconds, most))

    async def _read(self) -> None:
        try:
            document = await self._source.read()
            self._take(KeySet.of(document, self._accepted))
        except UnusableKeysError as error:
            if not self._problem:  # once per outage
                facts = {"source": self._source.name, "problem": str(error)}
                _log.warning("jwks_unavailable", extra=facts)
            self._problem = str(error)

    def _take(self, found: KeySet) -> None:
        if self._problem:
            _log.info("jwks_available", extra={"source": self._source.name})
        self._problem = ""
        before, self._set = self._set, found
        if before is None or before.ignored != found.ignored:
            for kid, problem in found.ignored:
                _log.warning("jwks_key_ignored", extra={"kid": kid, "problem": problem})
        if before is None or before.keys != found.keys:
            _log.info("jwks_changed", extra={"keys": len(found.keys)})
            for heard in self._changed:
                heard(found.keys)


def _no_key(kid: str | None, *, several: bool) -> Unauthenticated:
    if several:
        what = "several keys of the issuer fit the token, so that none is certain"
    elif kid is None:
        what = "the token names no key (kid), and the issuer has none for its algorithm"
    else:
        what = "the token is signed with a key that the issuer does not publish"
    return Unauthenticated(f"{what}; ask the issuer for a new token")
