"""Policies put together."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from gemini_backend.policies.base import opened
from gemini_backend.policies.pipeline import Pipeline
from tests.support.layers.inproc import collect
from tests.support.messages.calls import make_call

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from gemini_backend.call import Call
    from gemini_backend.policies.base import Stream, Unary
    from tests.support.clock import FakeClock


class Tagging:
    """Notes when it enters and leaves."""

    def __init__(self, tag: str, notes: list[str]) -> None:
        self._tag, self._notes = tag, notes

    @contextmanager
    def _noted(self) -> Iterator[None]:
        self._notes.append(f"+{self._tag}")
        try:
            yield
        finally:
            self._notes.append(f"-{self._tag}")

    async def unary(self, call: Call, request: Any, proceed: Unary[Any, Any], /) -> Any:
        with self._noted():
            return await proceed(call, request)

    async def stream(
        self, call: Call, request: Any, proceed: Stream[Any, Any], /
    ) -> AsyncIterator[Any]:
        with self._noted():
            async with opened(proceed(call, request)) as events:
                async for event in events:
                    yield event


async def answer(_call: Call, request: Any) -> Any:
    return request


async def count(_call: Call, request: int) -> AsyncIterator[int]:
    for number in range(request):
        yield number


async def test_first_policy_is_outermost(clock: FakeClock) -> None:
    """The first policy enters first and leaves last, for both kinds of answer."""
    notes: list[str] = []
    pipeline = Pipeline(Tagging("a", notes), Tagging("b", notes))
    assert await pipeline.unary(answer)(make_call(clock), "x") == "x"
    assert [0, 1] == await collect(pipeline.stream(count)(make_call(clock), 2))
    assert ["+a", "+b", "-b", "-a"] * 2 == notes


async def test_leaving_a_stream_early_leaves_every_policy(clock: FakeClock) -> None:
    """Closing the outermost iterator closes all that stands further in, at once."""
    notes: list[str] = []
    pipeline = Pipeline(Tagging("a", notes), Tagging("b", notes))
    events: Any = pipeline.stream(count)(make_call(clock), 5)
    await anext(events)
    await events.aclose()
    assert ["+a", "+b", "-b", "-a"] == notes
