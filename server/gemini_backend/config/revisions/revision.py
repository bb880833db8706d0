"""One state of the configuration, and what a change says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gemini_backend.config.errors import Problem
    from gemini_backend.config.sources import Given

MAX_REVISIONS = 100
"""Revisions that are kept; beyond it the oldest is discarded."""


class Reset(Enum):
    """Stands for "what file, environment or default say" in a patch."""

    RESET = "reset"


RESET = Reset.RESET


@dataclass(frozen=True, slots=True)
class Change:
    """What a change says of itself, for the history.

    Attributes:
        author: Who made it: `tenant/principal`, `start`, `reload` (SIGHUP) or `file` (file watch).
        comment: Why, as the caller said.
    """

    author: str = ""
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Revision:
    """One state of the configuration.

    Attributes:
        number: From 1; numbers continue after a restart.
        etag: Differs between any two revisions.
        given: Each value with its origin, by path.
        time: When it came into force, seconds since the epoch.
        change: Who made it, and why.
        changed: Paths whose value it changed, or whose override it ended, sorted.
        rollback_of: The revision that it put back; 0 for none.
        unusable: Values of an earlier start that this version does not accept.
        lost: Those of them that were overrides.
        not_kept: Paths whose value of an earlier start is not known, since it held a secret.
    """

    number: int
    etag: str
    given: Mapping[str, Given]
    time: float
    change: Change = Change()
    changed: tuple[str, ...] = ()
    rollback_of: int = 0
    unusable: tuple[Problem, ...] = ()
    lost: tuple[Problem, ...] = ()
    not_kept: frozenset[str] = frozenset()

    def value(self, path: str) -> object:
        """Return the value of one setting."""
        return self.given[path].value


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What became of a reload.

    Attributes:
        revision: The revision in force after it.
        taken: Paths of settings whose value has changed, sorted.
        waiting: Paths of settings whose source has changed and that only a start reads, sorted.
        hidden: Paths of settings that a source has changed and a stronger source decides, sorted,
            with what does: "the environment variable X", "the override of revision 3".
    """

    revision: Revision
    taken: tuple[str, ...]
    waiting: tuple[str, ...]
    hidden: Mapping[str, str]
