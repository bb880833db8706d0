"""What a patch of ConfigService makes of the values in force."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_backend.config.errors import ConfigError, Problem
from gemini_backend.config.reference import nearest, settings
from gemini_backend.config.revisions.revision import RESET
from gemini_backend.config.revisions.unkept import keepable, secrets_of
from gemini_backend.config.secret import MASK, Secret
from gemini_backend.config.sources import Given, Origin, OriginKind
from gemini_backend.config.values import convert

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gemini_backend.config.reference import Setting


def patched(
    given: Mapping[str, Given],
    sources: Mapping[str, Given],
    patch: Mapping[str, object],
    number: int,
) -> dict[str, Given]:
    """Return the values after a patch.

    A value that is in force already stays as it is, with its origin. A masked secret stands for
    the one in force.

    Args:
        given: The values in force.
        sources: What default, file, environment and command line say, which a reset goes back to.
        patch: New values by path, raw or converted, or `RESET`.
        number: The revision that the patch makes.

    Raises:
        ConfigError: a name or a value is wrong, or a secret would be set.
    """
    after = dict(given)
    origin = Origin(OriginKind.UPDATE, f"revision {number}")
    problems: list[Problem] = []
    for path, raw in patch.items():
        setting = settings().get(path)
        try:
            if setting is None:
                msg = f"{path} is not a setting{nearest(path, settings())}"
                raise ConfigError.at(msg, path)
            if setting.secret:
                _check_untouched(setting, raw, given[path].value)
            elif raw is RESET:
                after[path] = sources[path]
            elif (value := _storable(setting, raw, given)) != given[path].value:
                after[path] = Given(value, origin)
        except ConfigError as error:
            problems.extend(error.problems)
    if problems:
        raise ConfigError(*problems)
    return after


def _storable(setting: Setting, raw: object, given: Mapping[str, Given]) -> object:
    """Return a value for an override.

    Raises:
        ConfigError: the value is wrong, or holds a secret, which would be written to disk.
    """
    value = convert(setting, raw)
    if setting.live and not keepable(value, secrets_of(given)):
        msg = f"the value for {setting.path} contains a secret; remove it, since values are kept"
        raise ConfigError.at(msg, setting.path)
    return value


def _check_untouched(setting: Setting, raw: object, value: object) -> None:
    """Refuse to set a secret; a guess at the one in force is refused as well.

    Raises:
        ConfigError: `raw` is neither a reset, nor masked, nor as empty as the value in force.
    """
    if raw is RESET or _is_masked(raw) or not (raw or value):
        return
    msg = (
        f"{setting.path} is a secret and cannot be set by ConfigService; set it in the "
        f"configuration file or in {setting.variable}"
    )
    raise ConfigError.at(msg, setting.path)


def _is_masked(raw: object) -> bool:
    """Say whether a list of secrets came back as it was shown."""
    items = raw if isinstance(raw, list | tuple) else [raw]
    return bool(items) and all(
        item == MASK or (isinstance(item, Secret) and item.reveal() == MASK) for item in items
    )
