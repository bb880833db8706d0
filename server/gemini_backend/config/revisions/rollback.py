"""What a rollback makes of the values in force."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_backend.config.errors import ConfigError
from gemini_backend.config.reference import settings
from gemini_backend.config.sources import Given, Origin, OriginKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gemini_backend.config.revisions.revision import Revision


def restored(
    former: Revision,
    given: Mapping[str, Given],
    sources: Mapping[str, Given],
    number: int,
) -> dict[str, Given]:
    """Return the values after a rollback: each live setting as it was.

    An override of that revision is one again. A value that came from a source is taken from there
    if it still says so, and else becomes an override. Secrets, and what only a start reads, stay.

    Args:
        former: The revision to put back.
        given: The values in force.
        sources: What default, file, environment and command line say.
        number: The revision that the rollback makes.

    Raises:
        ConfigError: that revision has values which this version does not accept.
    """
    live = {path for path, setting in settings().items() if setting.live}
    unusable = [one for one in former.unusable if one.path in live]
    if unusable:
        raise ConfigError(*unusable)
    after = dict(given)
    origin = Origin(OriginKind.UPDATE, f"revision {number}")
    for path, setting in settings().items():
        if not setting.live or setting.secret or path in former.not_kept:
            continue
        was = former.given[path]
        if was.origin.kind is OriginKind.UPDATE:
            after[path] = was
        elif was.value == sources[path].value:
            after[path] = sources[path]
        else:
            after[path] = Given(was.value, origin)
    return after


def left_as_they_are(former: Revision, given: Mapping[str, Given]) -> tuple[str, ...]:
    """Return the settings that only a start reads and that differ from that revision; sorted."""
    return tuple(
        sorted(
            path
            for path, setting in settings().items()
            if not setting.live and given[path].value != former.given[path].value
        )
    )
