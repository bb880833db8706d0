"""All sources in their order, made into one tree that knows where each value comes from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from gemini_backend import masking
from gemini_backend.config.errors import ConfigError, Problem
from gemini_backend.config.network.proxies import proxy_for
from gemini_backend.config.reference.catalogue import nearest, settings
from gemini_backend.config.secret import Secret
from gemini_backend.config.sources import (
    FILE_VARIABLE,
    Given,
    Origin,
    OriginKind,
    defaults,
    from_environment,
    from_file,
)
from gemini_backend.config.values import build, convert

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from gemini_backend.config.tree import Config

_PROXY = "upstream.gemini.proxy_url"


@dataclass(frozen=True, slots=True)
class Settings:
    """What the sources say.

    Attributes:
        config: The tree.
        given: Each value with its origin, by path: that of the strongest source.
        said: What each source says, by path, also where a stronger one decides.
    """

    config: Config
    given: Mapping[str, Given]
    said: Mapping[OriginKind, Mapping[str, Given]] = field(default_factory=dict)


def read(
    file: Path | None,
    environ: Mapping[str, str],
    options: Mapping[str, object] | None = None,
) -> Settings:
    """Read all sources: built in, then file, then environment, then the command line's options.

    The secrets among the values are masked from then on in whatever this process shows.

    Args:
        file: TOML file; None for the one that `GEMINI_BACKEND_CONFIG` names, if it does.
        environ: Environment variables.
        options: Values by path from the command line.

    Raises:
        ConfigError: something is wrong with one of them.
    """
    given = defaults(environ)
    masking.remember(_secrets(given))  # before anything is refused, which may be a key elsewhere
    named = environ.get(FILE_VARIABLE)
    if file is None and named:
        file = Path(named)
    said = _all_said(
        {
            OriginKind.FILE: lambda: from_file(file) if file is not None else {},
            OriginKind.ENVIRONMENT: lambda: from_environment(environ),
            OriginKind.COMMAND_LINE: lambda: _from_options(options or {}),
        }
    )
    for one in said.values():
        given |= one
    given |= _from_usual_proxies(given, environ)
    masking.remember(_secrets(given))
    return Settings(build({path: one.value for path, one in given.items()}), given, said)


def _all_said(
    sources: Mapping[OriginKind, Callable[[], dict[str, Given]]],
) -> dict[OriginKind, dict[str, Given]]:
    """Return what each source says.

    Raises:
        ConfigError: something is wrong; it has the problems of all sources.
    """
    said: dict[OriginKind, dict[str, Given]] = {}
    problems: list[Problem] = []
    for kind, source in sources.items():
        try:
            said[kind] = source()
        except ConfigError as error:
            problems.extend(error.problems)
    if problems:
        raise ConfigError(*problems)
    return said


def _secrets(given: Mapping[str, Given]) -> Iterator[str]:
    for one in given.values():
        for value in one.value if isinstance(one.value, tuple) else (one.value,):
            if isinstance(value, Secret):
                yield value.reveal()


def _from_options(options: Mapping[str, object]) -> dict[str, Given]:
    given: dict[str, Given] = {}
    for path, raw in options.items():
        setting = settings().get(path)
        if setting is None:
            msg = f"{path} is not a setting{nearest(path, settings())}"
            raise ConfigError.at(msg, path)
        given[path] = Given(convert(setting, raw), Origin(OriginKind.COMMAND_LINE, path))
    return given


def _from_usual_proxies(given: Mapping[str, Given], environ: Mapping[str, str]) -> dict[str, Given]:
    """Return the proxy that the usual variables name, where no setting does."""
    if given[_PROXY].value != Secret(""):
        return {}
    found = proxy_for(str(given["upstream.gemini.base_url"].value), environ)
    if found is None:
        return {}
    proxy, variable = found
    return {_PROXY: Given(Secret(proxy), Origin(OriginKind.ENVIRONMENT, variable))}
