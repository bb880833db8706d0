"""The configuration of a running server: the revision in force, its changes, its history."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from gemini_backend.config.errors import (
    NotKept,
    Problem,
    RestartNeeded,
    StaleEtag,
    UnknownRevision,
)
from gemini_backend.config.reference.catalogue import settings
from gemini_backend.config.revisions import (
    MAX_REVISIONS,
    Change,
    Reloaded,
    Revision,
    changed_between,
    check_size,
    hidden_by,
    left_as_they_are,
    overrides_of,
    patched,
    restored,
    resumed,
)
from gemini_backend.config.values import rebuilt

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
    from typing import Any

    from gemini_backend.config.loading import Settings
    from gemini_backend.config.revisions import RevisionFile
    from gemini_backend.config.sources import Given
    from gemini_backend.config.tree import Config

T = TypeVar("T")

_NOBODY = Change()
_log = logging.getLogger(__name__)


class ConfigStore:
    """Holds the revision in force; changes are made one after another, on one event loop.

    A revision is on the disk before it is in force. A change that has begun is made to its end,
    also where its caller stops waiting for it.

    Attributes:
        current: The tree in force, which only this class sets.
    """

    def __init__(
        self,
        start: Settings,
        *,
        kept: RevisionFile | None = None,
        now: Callable[[], float] = time.time,
        nonce: str | None = None,
    ) -> None:
        """Begin with what was read at the start, and the overrides that were kept.

        Args:
            start: What the sources say.
            kept: Where revisions are kept; None for memory only.
            now: Gives seconds since the epoch.
            nonce: Part of the etags of this start; random by default.

        Raises:
            DamagedHistory: revisions were kept and cannot be read.
        """
        self._now, self._kept = now, kept
        self._nonce = nonce or secrets.token_hex(4)
        self._said, self._sources = start.said, start.given
        former = kept.load(start.given) if kept else []
        begun = resumed(start.given, start.config, former, self._nonce, now())
        self._revision = begun.revision
        self.current: Config = begun.config  # asked for many times in a call: no property
        history = [*former, begun.revision] if begun.is_new else [*former[:-1], begun.revision]
        self._history = deque(history, maxlen=MAX_REVISIONS)
        self._unkept = [begun.revision] if begun.is_new else []
        self._changed = asyncio.Event()
        self._turn = asyncio.Lock()
        self._making: set[asyncio.Task[Any]] = set()
        for one in begun.left_out:
            facts = {"setting": one.path, "reason": one.message}
            _log.warning("config_override_left_out", extra=facts)
        if former:
            self._keep_start()

    @property
    def revision(self) -> Revision:
        """The revision in force."""
        return self._revision

    def revisions(self) -> tuple[Revision, ...]:
        """Return the latest revisions, latest first, at most `MAX_REVISIONS`."""
        return tuple(reversed(self._history))

    def checked(self, patch: Mapping[str, object], *, etag: str = "") -> Revision:
        """Return the revision that a patch would make, under the number and etag in force.

        Raises:
            ConfigError: as `update`.
        """
        given, changed = self._wanted(patch, etag)
        self._built(given, changed)
        return replace(self._revision, given=given, changed=changed) if changed else self._revision

    async def update(
        self, patch: Mapping[str, object], *, etag: str = "", change: Change = _NOBODY
    ) -> Revision:
        """Change settings, all of the patch or none of it.

        Args:
            patch: New values by path, raw or converted; `RESET` for what the sources say. A masked
                secret stands for the one in force.
            etag: Changes only this revision; empty for any. The same change again, with the same
                etag, finds it made.
            change: Who makes it, and why.

        Returns:
            The new revision, or the one in force where the patch changes nothing.

        Raises:
            StaleEtag: another revision is in force.
            RestartNeeded: a setting is not live.
            NotKept: it cannot be written to disk.
            ConfigError: a name or a value is wrong, or a secret would be set.
        """

        async def make() -> Revision:
            given, changed = self._wanted(patch, etag)
            return await self._adopt(given, changed, change)

        return await self._whole(make())

    async def rollback(
        self, number: int, *, etag: str = "", change: Change = _NOBODY
    ) -> tuple[Revision, tuple[str, ...]]:
        """Put the live settings of a former revision back in force, as a new revision.

        Returns:
            The revision in force, and the paths of settings that differ from the former revision
            and stay, since only a start reads them.

        Raises:
            StaleEtag: another revision is in force.
            UnknownRevision: it is not in the history.
            NotKept: it cannot be written to disk.
            ConfigError: its values are not valid any more.
        """

        async def make() -> tuple[Revision, tuple[str, ...]]:
            if not self._is_of_before(etag):
                self._check_etag(etag)
            former = self._former(number)
            given = restored(former, self._revision.given, self._sources, self._next)
            changed = changed_between(self._revision.given, given)
            if changed:
                self._check_etag(etag)
            revision = await self._adopt(given, changed, change, rollback_of=number)
            return revision, left_as_they_are(former, given)

        return await self._whole(make())

    async def reload(self, read: Settings, change: Change = _NOBODY) -> Reloaded:
        """Take over what the sources say now; overrides stay, as do settings of a start.

        Raises:
            NotKept: it cannot be written to disk.
            ConfigError: the new values are at odds with overrides or with settings of the start;
                nothing has changed.
        """

        async def make() -> Reloaded:
            live = {path: one for path, one in read.given.items() if settings()[path].live}
            sources = {**self._sources, **live}
            given = {**sources, **overrides_of(self._revision.given)}
            changed = changed_between(self._revision.given, given)
            await self._adopt(given, changed, change)
            if not changed:  # but a value may come from elsewhere now
                self._revision = self._history[-1] = replace(self._revision, given=given)
            hidden = hidden_by(self._said, read.said, given)
            self._sources, self._said = sources, read.said
            waiting = sorted(
                path for path, one in read.given.items() if one.value != sources[path].value
            )
            return Reloaded(self._revision, changed, tuple(waiting), hidden)

        return await self._whole(make())

    async def subscribe(self) -> AsyncGenerator[Revision, None]:
        """Yield the revision in force, then each new one; who is slow gets the latest only."""
        seen = 0
        while True:
            changed, revision = self._changed, self._revision
            if revision.number == seen:
                await changed.wait()
                continue
            seen = revision.number
            yield revision

    async def aclose(self) -> None:
        """Let changes that have begun be made, then give the file back."""
        await asyncio.gather(*self._making, return_exceptions=True)
        if self._kept is not None:
            self._kept.close()

    @property
    def _next(self) -> int:
        return self._revision.number + 1

    async def _whole(self, make: Coroutine[Any, Any, T]) -> T:
        """Make a change in its turn, to its end, whether or not its caller still waits."""

        async def in_turn() -> T:
            async with self._turn:
                return await make

        making = asyncio.create_task(in_turn())
        self._making.add(making)
        making.add_done_callback(self._making.discard)
        return await asyncio.shield(making)

    def _wanted(
        self, patch: Mapping[str, object], etag: str
    ) -> tuple[dict[str, Given], tuple[str, ...]]:
        """Return the values that a patch makes, and which of them it changes.

        Raises:
            ConfigError: as `update`.
        """
        if not self._is_of_before(etag):
            self._check_etag(etag)
        given = patched(self._revision.given, self._sources, patch, self._next)
        changed = changed_between(self._revision.given, given)
        if changed:
            self._check_etag(etag)
        _check_live(changed)
        return given, changed

    def _former(self, number: int) -> Revision:
        former = next((one for one in self._history if one.number == number), None)
        if former is None:
            oldest = self._history[0].number
            msg = f"there is no revision {number}; use one from {oldest} to {self._revision.number}"
            raise UnknownRevision(Problem("revision", msg))
        return former

    def _is_of_before(self, etag: str) -> bool:
        """Say whether the revision in force was made from this one.

        A change of that one may be the very change, repeated because its answer was lost: it is
        welcome where it changes nothing more.
        """
        return len(self._history) > 1 and etag == self._history[-2].etag

    def _check_etag(self, etag: str) -> None:
        if etag and etag != self._revision.etag:
            msg = (
                f"the configuration is at etag {self._revision.etag} and not at {etag[:128]}; read "
                "it again with GetConfig and repeat the change"
            )
            raise StaleEtag(Problem("etag", msg))

    async def _adopt(
        self,
        given: Mapping[str, Given],
        changed: tuple[str, ...],
        change: Change,
        rollback_of: int = 0,
    ) -> Revision:
        """Bring values into force as a revision; return the one in force where nothing changes.

        Raises:
            NotKept: it cannot be written to disk.
            ConfigError: the values are at odds with each other.
        """
        if not changed:
            return self._revision
        config = self._built(given, changed)
        number = self._next
        revision = Revision(
            number, f"{self._nonce}-{number}", given, self._now(), change, changed, rollback_of
        )
        if self._kept is not None:
            await asyncio.to_thread(self._kept.append, [*self._unkept, revision])
        self._unkept = []
        self._revision, self.current = revision, config
        self._history.append(revision)
        self._changed.set()
        self._changed = asyncio.Event()
        return revision

    def _built(self, given: Mapping[str, Given], changed: tuple[str, ...]) -> Config:
        """Return the tree of these values.

        Raises:
            ConfigError: they are at odds with each other, or too large to be kept.
        """
        check_size(given)
        return rebuilt(self.current, {path: given[path].value for path in changed})

    def _keep_start(self) -> None:
        """Write the revision of this start; where that fails, it is written with the next one."""
        if self._kept is None or not self._unkept:
            return
        try:
            self._kept.append(self._unkept)
        except NotKept as error:
            _log.warning("config_start_not_kept", extra={"reason": str(error)})
            return
        self._unkept = []


def _check_live(changed: tuple[str, ...]) -> None:
    problems = [
        Problem(
            path,
            f"{path} is read only at the start; change it in the file or the environment and "
            "restart the server",
        )
        for path in changed
        if not settings()[path].live
    ]
    if problems:
        raise RestartNeeded(*problems)
