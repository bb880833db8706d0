"""Hooks in one relay, and wrappers and foreign policies beside them.

Covers: policies/pipeline.py, policies/wrapper.py
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from gemini_backend.policies.base import opened
from gemini_backend.policies.event_stream import EventStream, Watch
from gemini_backend.policies.pipeline import Pipeline
from gemini_backend.policies.relay import Hook
from gemini_backend.policies.wrapper import Around
from tests.support.layers.inproc import collect
from tests.support.messages.calls import make_call

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gemini_backend.policies.relay import Run
    from tests.support.clock import FakeClock


class Noting(Hook):
    """Notes its start, what it watches, and its end; refuses or waits where it is told to."""

    def __init__(
        self, name: str, notes: list[str], refuses: str = "", *, waits: bool = False
    ) -> None:
        self.name, self.notes, self.refuses, self.waits = name, notes, refuses, waits
        self.on = True

    def is_on(self) -> bool:
        return self.on

    def begin(self, run: Run, /) -> Any:
        self.notes.append(f"{self.name} begins")
        run.watch(Told(self.name, self.notes))
        if self.refuses:
            raise ValueError(self.refuses)
        run.request = f"{run.request}{self.name}"
        return asyncio.sleep(0) if self.waits else None


class Told(Watch):
    """Notes what it is told."""

    def __init__(self, name: str, notes: list[str]) -> None:
        self.name, self.notes = name, notes

    def first(self, event: Any, /) -> None:
        self.notes.append(f"{self.name} first {event}")

    def answer(self, response: Any, /) -> None:
        self.notes.append(f"{self.name} answer {response}")

    def end(self, error: BaseException | None, /) -> None:
        self.notes.append(f"{self.name} end {type(error).__name__ if error else 'well'}")


class Twice(Around):
    """Tries once more."""

    async def run(self, call: Any, request: Any, proceed: Any, /) -> Any:
        try:
            return await proceed(call, request)
        except ValueError:
            return await proceed(call, request)


class Foreign:
    """A policy that knows nothing of open streams."""

    async def unary(self, call: Any, request: Any, proceed: Any, /) -> Any:
        return await proceed(call, request)

    async def stream(self, call: Any, request: Any, proceed: Any, /) -> AsyncIterator[Any]:
        async with opened(proceed(call, request)) as events:
            async for event in events:
                yield event


class Answers:
    """Fails as often as it is told to, then answers with the request."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures

    async def unary(self, _call: Any, request: Any) -> Any:
        if self.failures:
            self.failures -= 1
            raise ValueError("down")
        return request

    async def stream(self, call: Any, request: Any) -> AsyncIterator[Any]:
        yield await self.unary(call, request)
        yield "z"


WELL = ["a begins", "b begins", "b {} xab", "b end well", "a {} xab", "a end well"]


async def test_hooks_begin_outermost_first_and_end_innermost_first(clock: FakeClock) -> None:
    """What a hook puts in the request's place, those further in are given."""
    notes: list[str] = []
    pipeline = Pipeline(Noting("a", notes), Noting("b", notes, waits=True))
    assert "xab" == await pipeline.unary(Answers().unary)(make_call(clock), "x")
    assert [note.format("answer") for note in WELL] == notes


async def test_hooks_are_told_of_a_stream(clock: FakeClock) -> None:
    """Of its first event when it is open, of its end when it has been read."""
    notes: list[str] = []
    pipeline = Pipeline(Noting("a", notes), Noting("b", notes))
    stream = await pipeline.open(Answers().stream)(make_call(clock), "x")
    assert ["a begins", "b begins", "b first xab", "a first xab"] == notes
    assert ["xab", "z", None] == [await stream.next() for _ in range(3)]
    assert ["b end well", "a end well"] == notes[4:]


@pytest.mark.parametrize("kind", ["unary", "stream"])
async def test_a_refusal_ends_those_further_out(clock: FakeClock, kind: str) -> None:
    """Whoever has begun is told; nothing further in begins."""
    notes: list[str] = []
    layers = [Noting("a", notes), Noting("b", notes, "no"), Noting("c", notes)]
    pipeline = Pipeline(*layers)
    work = pipeline.unary(Answers().unary) if kind == "unary" else pipeline.open(Answers().stream)
    with pytest.raises(ValueError, match="no"):
        await work(make_call(clock), "x")
    assert ["a begins", "b begins", "b end ValueError", "a end ValueError"] == notes


@pytest.mark.parametrize("kind", ["unary", "stream"])
async def test_a_wrapper_repeats_what_stands_further_in(clock: FakeClock, kind: str) -> None:
    """Each run of the rest is begun and ended for itself; those further out see one."""
    notes: list[str] = []
    pipeline, answers = Pipeline(Noting("o", notes), Twice(), Noting("i", notes)), Answers(1)
    if kind == "unary":
        assert "xoi" == await pipeline.unary(answers.unary)(make_call(clock), "x")
    else:
        assert ["xoi", "z"] == await collect(pipeline.stream(answers.stream)(make_call(clock), "x"))
    assert ["o begins", "i begins", "i end ValueError", "i begins"] == notes[:4]
    assert ["i end well", "o end well"] == [note for note in notes if "well" in note]


async def test_a_layer_that_is_off_is_left_out_from_the_next_call_on(clock: FakeClock) -> None:
    """It is asked again when the revision changes; a call that has begun keeps it."""
    notes: list[str] = []
    hook, revision = Noting("a", notes), [object()]
    pipeline = Pipeline(hook, revision=lambda: revision[0])
    opens = pipeline.open(Answers().stream)
    begun = await opens(make_call(clock), "x")
    hook.on, revision[0] = False, object()
    assert ["y", "z"] == [event async for event in await opens(make_call(clock), "y")]
    assert ["xa", "z", None] == [await begun.next() for _ in range(3)]
    assert ["a begins", "a first xa", "a end well"] == notes


@pytest.mark.parametrize("place", range(3))
async def test_a_foreign_policy_stands_anywhere(clock: FakeClock, place: int) -> None:
    """It sees the same events, and closing reaches through it."""
    notes: list[str] = []
    layers: list[Any] = [Noting("a", notes), Noting("b", notes)]
    layers.insert(place, Foreign())
    pipeline = Pipeline(*layers)
    assert ["xab", "z"] == await collect(pipeline.stream(Answers().stream)(make_call(clock), "x"))
    notes.clear()
    stream: EventStream = await pipeline.open(Answers().stream)(make_call(clock), "x")
    await stream.aclose()
    assert {"a end GeneratorExit", "b end GeneratorExit"} == {
        note for note in notes if "end" in note
    }
