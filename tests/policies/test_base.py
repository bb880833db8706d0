"""Policies put together."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from gemini_backend.policies.base import Guarded, Pipeline
from tests.support.calls import make_call
from tests.support.inproc import collect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gemini_backend.call import Call
    from tests.support.clock import FakeClock


class Tagging:
    """Notes when it enters and leaves."""

    def __init__(self, tag: str, notes: list[str]) -> None:
        self._tag, self._notes = tag, notes

    @asynccontextmanager
    async def __call__(self, call: Call) -> AsyncIterator[None]:
        self._notes.append(f"+{self._tag}")
        try:
            yield
        finally:
            self._notes.append(f"-{self._tag}")

    def __repr__(self) -> str:
        return f"Tagging({self._tag})"


async def answer(_call: Call, request: Any) -> Any:
    return request


async def count(_call: Call, request: int) -> AsyncIterator[int]:
    for number in range(request):
        yield number


async def test_first_policy_is_outermost(clock: FakeClock) -> None:
    """The first policy enters first and leaves last, for both kinds of answer."""
    notes: list[str] = []
    pipeline = Pipeline(Guarded(Tagging("a", notes)), Guarded(Tagging("b", notes)))
    assert await pipeline.unary(answer)(make_call(clock), "x") == "x"
    assert [0, 1] == await collect(pipeline.stream(count)(make_call(clock), 2))
    assert ["+a", "+b", "-b", "-a"] * 2 == notes


async def test_leaving_a_stream_early_leaves_every_guard(clock: FakeClock) -> None:
    """Closing the outermost iterator closes all that stands further in, at once."""
    notes: list[str] = []
    pipeline = Pipeline(Guarded(Tagging("a", notes)), Guarded(Tagging("b", notes)))
    events: Any = pipeline.stream(count)(make_call(clock), 5)
    await anext(events)
    await events.aclose()
    assert ["+a", "+b", "-b", "-a"] == notes


def test_a_pipeline_describes_itself() -> None:
    """A pipeline names its policies, outermost first."""
    pipeline = Pipeline(Guarded(Tagging("a", [])), Guarded(Tagging("b", [])))
    assert ("Tagging(a)", "Tagging(b)") == pipeline.describe()
