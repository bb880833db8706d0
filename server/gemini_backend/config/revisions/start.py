"""The first revision of a start: what the sources say, and over it the overrides that were kept."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gemini_backend.config.errors import ConfigError, Problem
from gemini_backend.config.reference import settings
from gemini_backend.config.revisions.layers import changed_between, overrides_of
from gemini_backend.config.revisions.revision import Change, Revision
from gemini_backend.config.values import build

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gemini_backend.config.sources import Given
    from gemini_backend.config.tree import Config

AT_START = "start"


@dataclass(frozen=True, slots=True)
class Resumed:
    """What a start begins with.

    Attributes:
        revision: The revision in force: the latest one kept, if nothing has changed since.
        config: Its tree.
        is_new: Whether it is a revision of this start.
        left_out: Overrides that are not valid any more, and why.
    """

    revision: Revision
    config: Config
    is_new: bool
    left_out: tuple[Problem, ...] = ()


def resumed(
    sources: Mapping[str, Given],
    config: Config,
    kept: Sequence[Revision],
    etag: str,
    now: float,
) -> Resumed:
    """Return the first revision of a start.

    An override that is not valid any more does not keep the server from starting: it is left out.

    Args:
        sources: What default, file, environment and command line say.
        config: The tree of these.
        kept: Revisions of earlier starts, oldest first.
        etag: What makes the etag of a new revision, before its number.
        now: The time, seconds since the epoch.
    """
    if not kept:
        first = Revision(1, f"{etag}-1", sources, now, Change(AT_START))
        return Resumed(first, config, is_new=True)
    last = kept[-1]
    given, tree, left_out = _laid_over(sources, config, last)
    changed = changed_between(last.given, given)
    changed = tuple(sorted({*changed, *(one.path for one in left_out)}))
    if not changed:
        return Resumed(replace(last, given=given), tree, is_new=False)
    number = last.number + 1
    words = "; ".join(f"left out: {one.message}" for one in left_out)
    new = Revision(number, f"{etag}-{number}", given, now, Change(AT_START, words), changed)
    return Resumed(new, tree, is_new=True, left_out=left_out)


def _laid_over(
    sources: Mapping[str, Given], config: Config, last: Revision
) -> tuple[dict[str, Given], Config, tuple[Problem, ...]]:
    """Return the values with the overrides of the last revision, their tree, and what is left out.

    Overrides that are at odds with a source are left out together with the others of their
    section, since one may have been made for the other.
    """
    overrides, left_out = overrides_of(last.given), list(last.lost)
    for path in list(overrides):
        if not settings()[path].live:
            left_out.append(Problem(path, f"{path} is read only at the start"))
            del overrides[path]
    while overrides:
        given = {**sources, **overrides}
        try:
            tree = build({path: one.value for path, one in given.items()})
        except ConfigError as error:
            at_odds = _of_their_sections(error.problems, overrides)
            left_out += [Problem(path, at_odds[path]) for path in at_odds]
            overrides = {path: one for path, one in overrides.items() if path not in at_odds}
        else:
            return given, tree, tuple(left_out)
    return dict(sources), config, tuple(left_out)


def _of_their_sections(
    problems: Sequence[Problem], overrides: Mapping[str, Given]
) -> dict[str, str]:
    """Return the overrides of the sections that have problems, or else all, with what is wrong."""
    found = {
        path: f"{path}: {problem.message}"
        for problem in problems
        for path in overrides
        if path.rpartition(".")[0] == problem.path.rpartition(".")[0]
    }
    words = "; ".join(problem.message for problem in problems)
    return found or dict.fromkeys(overrides, words)
