"""Where values come from: built in, a TOML file, the environment, the command line, updates."""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gemini_backend.config.errors import ConfigError, Problem
from gemini_backend.config.reference.catalogue import (
    ENVIRONMENT_PREFIX,
    nearest,
    sections,
    settings,
)
from gemini_backend.config.secret import Secret
from gemini_backend.config.secret_text import several
from gemini_backend.config.values import convert, convert_text
from gemini_backend.sizes import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gemini_backend.config.reference.catalogue import Setting

FILE_VARIABLE = "GEMINI_BACKEND_CONFIG"
KEY_VARIABLE = "GEMINI_API_KEY"
_KEYS = "upstream.gemini.api_keys"
_MAX_FILE_BYTES = MIB
_SURELY_MEANT = 0.85


class OriginKind(Enum):
    """Kinds of source; a later one outranks an earlier one."""

    DEFAULT = "default"
    FILE = "file"
    ENVIRONMENT = "environment"
    COMMAND_LINE = "command line"
    UPDATE = "update"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where one value comes from; `detail` names the file, variable, option or revision."""

    kind: OriginKind
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Given:
    """A value that a source gives, in the setting's own type."""

    value: object
    origin: Origin


def defaults(environ: Mapping[str, str]) -> dict[str, Given]:
    """Return what holds where nobody says otherwise; `GEMINI_API_KEY` and XDG are part of it.

    Raises:
        ConfigError: `GEMINI_API_KEY` is blank, without being empty.
    """
    given = {
        path: Given(setting.default, Origin(OriginKind.DEFAULT))
        for path, setting in settings().items()
    }
    home = environ.get("XDG_STATE_HOME") or str(Path(environ.get("HOME", "~")) / ".local/state")
    given["state.dir"] = Given(str(Path(home) / "gemini-backend"), Origin(OriginKind.DEFAULT))
    cache = environ.get("XDG_CACHE_HOME") or str(Path(environ.get("HOME", "~")) / ".cache")
    vocabulary = str(Path(cache) / "gemini-backend" / "gemma3-tokenizer.json")
    given["tokens.vocabulary_file"] = Given(vocabulary, Origin(OriginKind.DEFAULT))
    if text := environ.get(KEY_VARIABLE, ""):
        keys = tuple(Secret(key) for key in several(text))
        if not keys:
            msg = f"{KEY_VARIABLE} is set and holds no key; set it to the key, or remove it"
            raise ConfigError.at(msg, _KEYS)
        given[_KEYS] = Given(keys, Origin(OriginKind.ENVIRONMENT, KEY_VARIABLE))
    return given


def from_file(file: Path) -> dict[str, Given]:
    """Return what a TOML file says.

    Raises:
        ConfigError: the file cannot be read, is no TOML, or names or values are wrong.
    """
    try:
        with file.open("rb") as opened:
            raw = opened.read(_MAX_FILE_BYTES + 1)
        if len(raw) > _MAX_FILE_BYTES:
            msg = f"configuration file {file} is larger than 1 MiB; is it the right one?"
            raise ConfigError.at(msg, "")
        tree = tomllib.loads(raw.decode("utf-8-sig"))
    except OSError as error:
        msg = f"cannot read configuration file {file}: {error.strerror}; check --config"
        raise ConfigError.at(msg, "") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        msg = f"configuration file {file} is not valid TOML: {error}; correct it"
        raise ConfigError.at(msg, "") from None
    origin = Origin(OriginKind.FILE, str(file))
    return from_tree(tree, origin)


def from_tree(tree: Mapping[str, Any], origin: Origin) -> dict[str, Given]:
    """Return what nested tables say.

    Raises:
        ConfigError: names or values are wrong.
    """
    given: dict[str, Given] = {}
    problems: list[Problem] = []
    for path, raw in _leaves(tree, ""):
        try:
            given[path] = Given(convert(_known(path, raw), raw), origin)
        except ConfigError as error:
            problems.extend(error.problems)
    if problems:
        raise ConfigError(*problems)
    return given


def from_environment(environ: Mapping[str, str]) -> dict[str, Given]:
    """Return what variables `GEMINI_BACKEND_<SECTION>__<FIELD>` say.

    A variable with the prefix and a double underscore that names no setting is refused, as is one
    that is nearly a setting's; any other is left to whom it belongs.

    Raises:
        ConfigError: names or values are wrong.
    """
    known = {setting.variable: setting for setting in settings().values()}
    given: dict[str, Given] = {}
    problems: list[Problem] = []
    for name in sorted(environ):
        if not name.startswith(ENVIRONMENT_PREFIX) or name == FILE_VARIABLE:
            continue
        if name not in known:
            problems.extend(_unknown_variable(name, list(known)))
            continue
        try:
            value = convert_text(known[name], environ[name])
        except ConfigError as error:
            problems.extend(Problem(p.path, f"{name}: {p.message}") for p in error.problems)
            continue
        given[known[name].path] = Given(value, Origin(OriginKind.ENVIRONMENT, name))
    if problems:
        raise ConfigError(*problems)
    return given


def _unknown_variable(name: str, known: list[str]) -> Iterator[Problem]:
    meant = difflib.get_close_matches(name, known, n=1, cutoff=_SURELY_MEANT)
    if "__" in name or meant:
        yield Problem(
            name, f"environment variable {name} does not match a setting{nearest(name, known)}"
        )


def _leaves(tree: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, object]]:
    """Yield every value that is not the table of a section; unknown tables count as values."""
    for name, value in tree.items():
        path = f"{prefix}{name}"
        if isinstance(value, dict) and path in sections():
            yield from _leaves(value, f"{path}.")
        else:
            yield path, value


def _known(path: str, raw: object) -> Setting:
    setting = settings().get(path)
    if setting is not None:
        return setting
    if path in sections():
        msg = f"{path} is a section and must be a table; put its settings below [{path}]"
        raise ConfigError.at(msg, path)
    right = sections() if isinstance(raw, dict) else settings()
    msg = f"{path} is not a setting{nearest(path, right)}"
    raise ConfigError.at(msg, path)
