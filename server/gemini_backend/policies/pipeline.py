"""Layers put together round a handler: hooks that are neighbours share a relay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gemini_backend.policies.opening import begun
from gemini_backend.policies.relay import Hook, Relay
from gemini_backend.policies.wrapper import Around, Wrapper

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence

    from gemini_backend.call import Call
    from gemini_backend.policies.base import Policy, Stream, Unary
    from gemini_backend.policies.event_stream import EventStream
    from gemini_backend.policies.wrapper import Opens

    Layers = Sequence[Hook | Wrapper | Policy]
    Rest = Callable[[Call, Any], Awaitable[Any]]


class Pipeline:
    """Layers round a handler, the first one outermost.

    What is off is left out. That is looked at again when `revision` gives another object, as it
    does when settings have changed; calls that have begun keep what they have.
    """

    def __init__(self, *layers: Any, revision: Callable[[], object] | None = None) -> None:
        """Put hooks, wrappers and policies together in this order.

        Without a `revision` it is looked at for each call.
        """
        self.layers = layers
        self._revision: Callable[[], object] = revision or self._on

    def unary(self, handler: Unary[Any, Any]) -> Unary[Any, Any]:
        """Return `handler`, which gives a whole answer, with every layer round it."""
        return self._latest(lambda layers: _unary(layers, handler))

    def open(self, handler: Stream[Any, Any]) -> Opens:
        """Return what opens the stream of `handler`, with every layer round it."""

        def innermost(call: Call, request: Any) -> Awaitable[EventStream]:
            return begun(handler(call, request))

        return self._latest(lambda layers: _streamed(layers, innermost))

    def stream(self, handler: Stream[Any, Any]) -> Stream[Any, Any]:
        """Return the same as an iterator, which closes what it has opened."""
        return iterated(self.open(handler))

    def _on(self) -> Hashable:
        return tuple(_is_on(layer) for layer in self.layers)

    def _latest(self, make: Callable[[Layers], Rest]) -> Rest:
        """Return what `make` has made of the layers that are on, made again where these change."""
        revision = self._revision
        made_for: object = None
        made: Rest | None = None

        def run(call: Call, request: Any) -> Awaitable[Any]:
            nonlocal made_for, made
            now = revision()
            if made is None or (now is not made_for and now != made_for):
                made = make([layer for layer in self.layers if _is_on(layer)])
                made_for = now
            return made(call, request)

        return run


def _is_on(layer: Any) -> bool:
    return not isinstance(layer, (Hook, Wrapper)) or layer.is_on()


def _groups(layers: Layers) -> list[list[Any]]:
    """Return the layers from the innermost to the outermost, neighbouring hooks together."""
    groups: list[list[Any]] = []
    for layer in layers:
        if groups and isinstance(layer, Hook) and isinstance(groups[-1][0], Hook):
            groups[-1].append(layer)
        else:
            groups.append([layer])
    return groups[::-1]


def _unary(layers: Layers, handler: Rest) -> Rest:
    rest = handler
    for group in _groups(layers):
        rest = Relay(group, rest).unary if isinstance(group[0], Hook) else _round(group[0], rest)
    return rest


def _streamed(layers: Layers, handler: Rest) -> Rest:
    rest = handler
    for group in _groups(layers):
        layer = group[0]
        if isinstance(layer, Hook):
            rest = Relay(group, rest).stream
        elif isinstance(layer, Wrapper):
            rest = _opening(layer, rest)
        else:
            rest = _foreign(layer, rest)
    return rest


def _round(layer: Wrapper | Policy, rest: Rest) -> Rest:
    if isinstance(layer, Around) and type(layer).unary is Around.unary:
        return _running(layer, rest)

    def unary(call: Call, request: Any) -> Awaitable[Any]:
        return layer.unary(call, request, rest)

    return unary


def _opening(layer: Wrapper, rest: Rest) -> Rest:
    if isinstance(layer, Around) and type(layer).stream is Around.stream:
        return _running(layer, rest)

    def stream(call: Call, request: Any) -> Awaitable[EventStream]:
        return layer.stream(call, request, rest)

    return stream


def _running(layer: Around, rest: Rest) -> Rest:
    """Mount what does the same for both kinds of answer, without a step between."""
    run = layer.run

    def around(call: Call, request: Any) -> Awaitable[Any]:
        return run(call, request, rest)

    return around


def _foreign(policy: Policy, rest: Rest) -> Rest:
    """Mount a policy that knows streams as iterators only."""
    events_of = iterated(rest)

    async def stream(call: Call, request: Any) -> EventStream:
        return await begun(policy.stream(call, request, events_of))

    return stream


def iterated(opens: Opens) -> Stream[Any, Any]:
    """Return a stream as an iterator, which is opened when it is first asked for an event."""

    async def events(call: Call, request: Any) -> AsyncIterator[Any]:
        stream = await opens(call, request)
        try:
            while (event := await stream.next()) is not None:
                yield event
        except BaseException as error:  # noqa: BLE001 - told to all, and raised
            raise await stream.aclose(error) from error.__cause__

    return events
