"""Layers of an operator's own, found by their entry points and put where configuration says.

An entry point of the group `gemini_backend.interceptors` is a callable that is given the table
`options` and returns a `grpc.aio.ServerInterceptor` or a policy (see `policies/base.py`).
"""

from __future__ import annotations

from difflib import get_close_matches
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

import grpc

from gemini_backend.config.errors import ConfigError
from gemini_backend.policies.chain import Kind, Layer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gemini_backend.config.sections.extension import InterceptorOptions
    from gemini_backend.policies.chain import Scope

GROUP = "gemini_backend.interceptors"


class Extensions:
    """Layers of an operator's own, each placed beside its neighbour, whose scope it has."""

    def __init__(self, configured: Sequence[InterceptorOptions]) -> None:
        """Have placed none yet."""
        self._waiting = list(configured)

    def placed(self, rows: Sequence[Layer]) -> list[Layer]:
        """Return part of the chain with every extension whose neighbour is there, in order.

        Raises:
            ConfigError: there is no such entry point, or the layer cannot be made.
        """
        result = list(rows)
        for extension in tuple(self._waiting):
            neighbour = extension.before or extension.after
            names = [row.name for row in result]
            if neighbour in names:
                self._waiting.remove(extension)
                index = names.index(neighbour)
                row = _row(extension, result[index].scope)
                result.insert(index if extension.before else index + 1, row)
        return result

    def check(self, chain: Iterable[Layer]) -> None:
        """Refuse extensions whose neighbour is nowhere.

        Raises:
            ConfigError: there is one.
        """
        for extension in self._waiting:
            neighbour = extension.before or extension.after
            names = ", ".join(row.name for row in chain)
            msg = f"interceptors: there is no layer {neighbour!r}; the layers are {names}"
            raise ConfigError.at(msg, "interceptors")


def _row(extension: InterceptorOptions, scope: Scope) -> Layer:
    made = _made(extension)
    foreign = isinstance(made, grpc.aio.ServerInterceptor)
    return Layer(extension.name, scope, Kind.TRANSPORT if foreign else Kind.WRAPPER, made)


def _made(extension: InterceptorOptions) -> Any:
    found = {point.name: point for point in entry_points(group=GROUP)}
    point = found.get(extension.name)
    if point is None:
        near = get_close_matches(extension.name, found, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"installed: {sorted(found) or 'none'}"
        msg = f"interceptors: no entry point {extension.name!r} in the group {GROUP}; {hint}"
        raise ConfigError.at(msg, "interceptors")
    try:
        return point.load()(extension.options)
    except Exception as error:
        msg = f"interceptors: {extension.name!r} cannot be created: {error}; check its options"
        raise ConfigError.at(msg, "interceptors") from error
