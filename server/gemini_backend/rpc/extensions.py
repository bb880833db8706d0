"""Layers of an operator's own, found by their entry points and put where configuration says.

An entry point of the group `gemini_backend.interceptors` is a callable that is given the table
`options` and returns a `grpc.aio.ServerInterceptor` or a policy (see `policies/base.py`).
"""

from __future__ import annotations

from difflib import get_close_matches
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from gemini_backend.config.errors import ConfigError
from gemini_backend.rpc.chain import Layer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gemini_backend.config.sections.extension import InterceptorOptions

GROUP = "gemini_backend.interceptors"


def extended(chain: Sequence[Layer], extensions: Sequence[InterceptorOptions]) -> list[Layer]:
    """Return the chain with every extension in its place.

    An extension has the scope of the layer that it stands next to.

    Raises:
        ConfigError: an entry point or a neighbour is not there, or the layer cannot be made.
    """
    result = list(chain)
    for extension in extensions:
        neighbour = extension.before or extension.after
        names = [layer.name for layer in result]
        if neighbour not in names:
            msg = (
                f"interceptors: there is no layer {neighbour!r}; the layers are {', '.join(names)}"
            )
            raise ConfigError.at(msg, "interceptors")
        index = names.index(neighbour)
        layer = Layer(extension.name, _made(extension), result[index].scope)
        result.insert(index if extension.before else index + 1, layer)
    return result


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
