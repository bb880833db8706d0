"""Reads the sources of keys, at the start and whenever they may have changed."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from gemini_backend.config.errors import ConfigError, Problem
from gemini_backend.errors import StoreUnavailable
from gemini_backend.stores.one_thread import OneThread
from gemini_backend.telemetry.events import SILENT, KeySourceFailed, UpstreamKeysChanged
from gemini_backend.telemetry.health.health_report import Component
from gemini_backend.telemetry.health.health_rules import HealthState
from gemini_backend.telemetry.metrics.metric_families import Family
from gemini_backend.upstream.keys.key_command import KeyCommand
from gemini_backend.upstream.keys.key_file import KeyFile
from gemini_backend.upstream.keys.known_key import KeyProblem, KeySource

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from gemini_backend.clock import Clock
    from gemini_backend.config.sections.upstream import GeminiOptions
    from gemini_backend.telemetry.events import Publisher
    from gemini_backend.upstream.keys.key_set import KeySet
    from gemini_backend.upstream.keys.key_store import KeyStore
    from gemini_backend.upstream.keys.known_key import KnownKey

T = TypeVar("T")
LOOK_SECONDS = 5.0
_SETTINGS = {
    KeySource.FILE: "upstream.gemini.api_keys_file",
    KeySource.COMMAND: "upstream.gemini.api_keys_command",
    KeySource.STORE: "state.dir",
}
# A file that has changed is read again after this time, until it is the same twice: so that half
# of what somebody is writing is no key.
SETTLE_SECONDS = 0.2

_MAX_READINGS = 25


class _Followed(NamedTuple):
    """A source that is a file: its bytes now, and the keys that are in them. Both block."""

    source: KeySource
    data: Callable[[], bytes]
    keys: Callable[[bytes], list[KnownKey]]


class KeySources:
    """File, command and store, read into a `KeySet`.

    A source that cannot be read keeps the keys that it had; that is logged, counted, and reported
    by health, until it can be read again.
    """

    def __init__(
        self,
        options: GeminiOptions,
        keys: KeySet,
        store: KeyStore,
        clock: Clock,
        bus: Publisher = SILENT,
    ) -> None:
        """Read nothing yet.

        Args:
            options: Where file and command are.
            keys: Where what was read goes.
            store: The encrypted store.
            clock: Times what is repeated.
            bus: Where changes and failures are published.
        """
        self.keys = keys
        self.store = store
        self._clock = clock
        self._bus = bus
        self._stored = _Followed(KeySource.STORE, store.data, lambda _data: store.read())
        self._files = [self._stored]
        if options.api_keys_file:
            file = KeyFile(options.api_keys_file)
            self._files.insert(0, _Followed(KeySource.FILE, file.data, file.keys))
        arguments = options.api_keys_command
        self._command = KeyCommand(arguments, clock) if arguments else None
        self._refresh_seconds = options.api_keys_refresh_seconds
        self._seen: dict[KeySource, bytes] = {}
        self._problems: dict[KeySource, str] = {}
        self._failures: Counter[KeySource] = Counter()
        self._thread = OneThread("upstream-keys")
        self._turn = asyncio.Lock()

    @property
    def problems(self) -> list[str]:
        """What is wrong with the sources now, a sentence each that names the fix."""
        return list(self._problems.values())

    async def load(self) -> None:
        """Read every source for the first time.

        Raises:
            ConfigError: there is no key at all, because of a source that cannot be read.
        """
        await self.refresh()
        if self._problems and not len(self.keys):
            raise ConfigError(
                *(Problem(_SETTINGS[one], said) for one, said in self._problems.items())
            )

    async def refresh(self) -> None:
        """Read every source now."""
        await self._look()
        await self._run_command()

    async def run(self) -> None:
        """Follow the sources until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._every(LOOK_SECONDS, self._look))
            if self._command is not None:
                tasks.create_task(self._every(self._refresh_seconds, self._run_command))

    async def with_store(self, job: Callable[[], T]) -> T:
        """Do something with the store in the thread that reads it, and take over what it has then.

        Raises:
            ServiceError: what the job raises.
        """
        async with self._turn:
            done = await self._thread.run(job)
            await self._take(self._stored, settle=False)
        return done

    def component(self) -> Component:
        """Say whether all sources can be read."""
        if self._problems:
            return Component("upstream_keys", HealthState.DEGRADED, "; ".join(self.problems))
        return Component("upstream_keys", HealthState.HEALTHY, "")

    def families(self) -> Iterator[Family]:
        """Yield what was counted."""
        said = "Readings of a source of upstream keys that failed."
        sources = [one.source for one in self._files]
        sources += [KeySource.COMMAND] if self._command is not None else []
        values = {(one.value,): float(self._failures[one]) for one in sources}
        yield Family("counter", "upstream_key_source_failures", said, values, ("source",))

    def close(self) -> None:
        """End the thread."""
        self._thread.close()

    async def _every(self, seconds: float, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            await self._clock.sleep(seconds)
            await work()

    async def _look(self) -> None:
        async with self._turn:
            for one in self._files:
                await self._take(one, settle=one.source in self._seen)

    async def _take(self, one: _Followed, *, settle: bool) -> None:
        """Take over what a file has, if that has changed or could not be read before."""
        try:
            data = await self._thread.run(one.data)
            if data == self._seen.get(one.source) and one.source not in self._problems:
                return
            if settle:
                data = await self._settled(one, data)
            keys = await self._thread.run(partial(one.keys, data))
        except (KeyProblem, StoreUnavailable) as error:
            self._failed(one.source, str(error))
        else:
            self._seen[one.source] = data
            self._put(one.source, keys)

    async def _settled(self, one: _Followed, data: bytes) -> bytes:
        """Return what a file has once it is the same twice; at the latest after 5 s."""
        for _ in range(_MAX_READINGS):
            before = data
            await self._clock.sleep(SETTLE_SECONDS)
            data = await self._thread.run(one.data)
            if data == before:
                break
        return data

    async def _run_command(self) -> None:
        if self._command is None:
            return
        try:
            keys = await self._command.keys()
        except KeyProblem as error:
            self._failed(KeySource.COMMAND, str(error))
        else:
            self._put(KeySource.COMMAND, keys)

    def _put(self, source: KeySource, keys: list[KnownKey]) -> None:
        self._problems.pop(source, None)
        came, went = self.keys.put(source, keys)
        if came or went:
            added, removed = tuple(sorted(came)), tuple(sorted(went))
            self._bus.publish(UpstreamKeysChanged(source.value, added, removed))

    def _failed(self, source: KeySource, problem: str) -> None:
        self._failures[source] += 1
        if self._problems.get(source) != problem:
            self._problems[source] = problem
            self._bus.publish(KeySourceFailed(source.value, problem))
