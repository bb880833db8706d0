"""The configuration of a running server: the revision in force, its changes, its history."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import deque
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING

from gemini_backend.config.errors import (
    ConfigError,
    Problem,
    RestartNeeded,
    StaleEtag,
    UnknownRevision,
)
from gemini_backend.config.reference.catalogue import nearest, settings
from gemini_backend.config.secret import MASK, Secret
from gemini_backend.config.sources import Given, Origin, OriginKind
from gemini_backend.config.values import build, convert

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from gemini_backend.config.loading import Settings
    from gemini_backend.config.tree import Config

MAX_REVISIONS = 100


class Reset(Enum):
    """Stands for "what file, environment or default say" in a patch."""

    RESET = "reset"


RESET = Reset.RESET


@dataclass(frozen=True, slots=True)
class Revision:
    """One state of the configuration.

    Attributes:
        number: From 1, the state at the start.
        etag: Differs between any two revisions, of other starts too.
        config: The tree.
        given: Each value with its origin, by path.
        time: When it came into force, seconds since the epoch.
        changed: Paths that it changed, sorted; empty for the first.
        comment: Why it was made, as the caller said.
        rollback_of: The revision that it put back; 0 for none.
    """

    number: int
    etag: str
    config: Config
    given: Mapping[str, Given]
    time: float
    changed: tuple[str, ...] = ()
    comment: str = ""
    rollback_of: int = 0


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What became of a reload.

    Attributes:
        revision: The revision in force after it.
        taken: Paths of live settings whose source has changed, sorted.
        kept: Paths of settings whose source has changed and that only a start reads, sorted.
    """

    revision: Revision
    taken: tuple[str, ...]
    kept: tuple[str, ...]


class ConfigStore:
    """Holds the revision in force; one event loop, no locks: no method waits in the middle.

    Attributes:
        current: The tree in force, which only this class sets.
    """

    def __init__(
        self,
        start: Settings,
        *,
        now: Callable[[], float] = time.time,
        nonce: str | None = None,
    ) -> None:
        """Begin with what was read at the start.

        Args:
            start: The first revision, which a reset goes back to.
            now: Gives seconds since the epoch.
            nonce: Part of every etag; random by default.
        """
        self._start = start
        self._now = now
        self._nonce = nonce or secrets.token_hex(4)
        self._revision = Revision(1, self._etag(1), start.config, start.given, now())
        self.current: Config = start.config  # asked for many times in a call: no property
        self._history = deque([self._revision], maxlen=MAX_REVISIONS)
        self._changed = asyncio.Event()

    @property
    def revision(self) -> Revision:
        """The revision in force."""
        return self._revision

    def revisions(self) -> tuple[Revision, ...]:
        """Return the latest revisions, latest first, at most `MAX_REVISIONS`."""
        return tuple(reversed(self._history))

    def update(
        self,
        patch: Mapping[str, object],
        *,
        etag: str = "",
        validate_only: bool = False,
        comment: str = "",
    ) -> Revision:
        """Change settings, all of the patch or none of it.

        Args:
            patch: New values by path, raw or converted; `RESET` for what the start said. A masked
                secret stands for the one in force.
            etag: Changes only this revision; empty for any. The same change again, with the same
                etag, finds it made.
            validate_only: Whether to leave things as they are and only return what would be.
            comment: Why, for the history.

        Returns:
            The new revision, or the one in force where the patch changes nothing. With
            `validate_only` the revision that would be, under the number and etag in force.

        Raises:
            StaleEtag: another revision is in force.
            RestartNeeded: a setting is not live.
            ConfigError: a name or a value is wrong.
        """
        if not self._is_of_before(etag):
            self._check_etag(etag)
        given = self._patched(patch)
        if self._changed_by(given):
            self._check_etag(etag)
        return self._adopt(given, comment=comment, validate_only=validate_only)

    def rollback(self, number: int, *, etag: str = "", comment: str = "") -> Revision:
        """Put a former revision back in force, as a new one.

        Raises:
            StaleEtag: another revision is in force.
            UnknownRevision: it is not in the history.
            RestartNeeded: it differs in a setting that is not live; no update can make one.
        """
        if not self._is_of_before(etag):
            self._check_etag(etag)
        former = next((one for one in self._history if one.number == number), None)
        if former is None:
            oldest = self._history[0].number
            msg = f"there is no revision {number}; use one from {oldest} to {self._revision.number}"
            raise UnknownRevision(Problem("revision", msg))
        given = dict(former.given)
        if self._changed_by(given):
            self._check_etag(etag)
        return self._adopt(given, comment=comment, rollback_of=number)

    def reload(self, read: Settings, *, comment: str = "") -> Reloaded:
        """Take over what the sources say now, where that differs from what they said before.

        A live setting whose source has changed takes its new value, also in place of an update's;
        every other one stays as it is in force. Those that only a start reads keep their values.

        Raises:
            ConfigError: the new values are at odds with those in force; nothing has changed.
        """
        before = self._start.given
        changed = [path for path, one in read.given.items() if one.value != before[path].value]
        live = {path: read.given[path] for path in changed if settings()[path].live}
        revision = self._adopt({**self._revision.given, **live}, comment=comment)
        self._start = replace(self._start, given={**before, **live})
        kept = tuple(sorted(path for path in changed if path not in live))
        return Reloaded(revision, tuple(sorted(live)), kept)

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

    def _etag(self, number: int) -> str:
        return f"{self._nonce}-{number}"

    def _is_of_before(self, etag: str) -> bool:
        """Say whether the revision in force was made from this one.

        A change of that one may be the very change, repeated because its answer was lost: it is
        welcome where it changes nothing more.
        """
        return len(self._history) > 1 and etag == self._history[-2].etag

    def _changed_by(self, given: Mapping[str, Given]) -> tuple[str, ...]:
        before = self._revision.given
        return tuple(sorted(path for path in given if given[path].value != before[path].value))

    def _check_etag(self, etag: str) -> None:
        if etag and etag != self._revision.etag:
            msg = (
                f"the configuration is at etag {self._revision.etag} and not at {etag[:128]}; read "
                "it again with GetConfig and repeat the change"
            )
            raise StaleEtag(Problem("etag", msg))

    def _patched(self, patch: Mapping[str, object]) -> dict[str, Given]:
        given = dict(self._revision.given)
        origin = Origin(OriginKind.UPDATE, f"revision {self._revision.number + 1}")
        problems: list[Problem] = []
        for path, raw in patch.items():
            setting = settings().get(path)
            if setting is None:
                known = nearest(path, settings())
                problems.append(Problem(path, f"{path} is not a setting{known}"))
            elif raw is RESET:
                given[path] = self._start.given[path]
            elif setting.secret and _is_masked(raw):
                continue
            else:
                try:
                    value = convert(setting, raw)
                except ConfigError as error:
                    problems.extend(error.problems)
                    continue
                if value != given[path].value:
                    given[path] = Given(value, origin)
        if problems:
            raise ConfigError(*problems)
        return given

    def _adopt(
        self,
        given: dict[str, Given],
        *,
        comment: str,
        validate_only: bool = False,
        rollback_of: int = 0,
    ) -> Revision:
        before = self._revision
        changed = self._changed_by(given)
        _check_live(changed)
        if not changed:
            return before
        config = build({path: one.value for path, one in given.items()})
        number = before.number if validate_only else before.number + 1
        revision = Revision(
            number, self._etag(number), config, given, self._now(), changed, comment, rollback_of
        )
        if not validate_only:
            self._revision, self.current = revision, revision.config
            self._history.append(revision)
            self._changed.set()
            self._changed = asyncio.Event()
        return revision


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


def _is_masked(raw: object) -> bool:
    """Say whether a list of secrets came back as it was shown."""
    items = raw if isinstance(raw, list | tuple) else [raw]
    return bool(items) and all(
        item == MASK or (isinstance(item, Secret) and item.reveal() == MASK) for item in items
    )
