"""Streams that are open: read, watched, failed, closed, and read on after a cancel.

Covers: policies/opening.py
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from gemini_backend.policies.event_stream import EventStream
from gemini_backend.policies.opening import begun

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
from tests.support.layers.noted_watches import Noted, Readable, Timer, letters, rest, watched


async def test_a_stream_is_there_with_its_first_event() -> None:
    """Its first event is there when it is; the rest is read from its source."""
    stream = await begun(letters())
    assert (["a"], False) == (list(stream.ahead), stream.whole)
    assert ["a", "b", "c"] == await rest(stream)
    assert None is await stream.next()


async def test_a_source_without_events_is_a_stream_without_events() -> None:
    """Nothing to read is no failure."""
    stream = await begun(letters(""))
    assert (True, []) == (stream.whole, await rest(stream))


async def test_what_fails_before_the_first_event_is_no_stream() -> None:
    """The failure is raised by whoever opens it."""
    with pytest.raises(ValueError, match="down"):
        await begun(letters("", ValueError("down")))


async def test_the_innermost_watch_is_told_first() -> None:
    """Events pass the watches in the order in which they came; the first one is told apart."""
    notes: list[str] = []
    stream = await watched(Noted("i", notes), Noted("o", notes), text="ab")
    assert ["i first a", "i a", "o first a", "o a"] == notes
    assert ["a", "b"] == await rest(stream)
    assert ["i b", "o b", "i end well", "o end well"] == notes[4:]


async def test_an_answer_that_is_there_is_over_at_once() -> None:
    """Of a stream whose events are all there a watch is told all, and the end."""
    notes: list[str] = []
    stream = EventStream(["a", "b"])
    stream.watch(Noted("w", notes))
    assert ["w first a", "w a", "w b", "w end well"] == notes
    assert ["a", "b"] == await rest(stream)


async def test_a_failure_is_told_from_the_inside_to_the_outside() -> None:
    """A watch may put another failure in its place, for those further out."""
    notes: list[str] = []
    inner = Noted("i", notes, end=KeyError("typed"))
    stream = await watched(inner, Noted("o", notes), error=ValueError("down"))
    with pytest.raises(KeyError, match="typed"):
        await rest(stream)
    assert ["i end ValueError", "o end KeyError"] == notes[-2:]


async def test_a_watch_that_fails_ends_the_answer() -> None:
    """Those further in are told that it was closed, the others of the failure; once each."""
    notes: list[str] = []
    culprit = Noted("m", notes, at_b=ValueError("no"))
    stream = await watched(Noted("i", notes), culprit, Noted("o", notes))
    with pytest.raises(ValueError, match="no"):
        await rest(stream)
    assert ["i end GeneratorExit", "m end ValueError", "o end ValueError"] == notes[-3:]
    assert None is await stream.next()


async def test_closing_tells_every_watch_once() -> None:
    """A stream that nobody wants any more closes its source and tells why; again does nothing."""
    notes: list[str] = []
    source = Readable()
    stream = EventStream(["a"], source)
    stream.watch(Noted("w", notes))
    assert GeneratorExit is type(await stream.aclose())
    await stream.aclose()
    assert (1, ["w end GeneratorExit"]) == (source.closed, notes[2:])


@pytest.mark.parametrize(
    ("made", "read"),
    [(b"B", ["a", b"B", "c"]), ([], ["a", "c"]), (["x", "y"], ["a", "x", "y", "c"])],
)
async def test_a_watch_may_put_something_in_an_events_place(made: Any, read: list[Any]) -> None:
    """Its bytes, other events or none: those further out see what is there instead."""
    notes: list[str] = []
    stream = await watched(Noted("i", notes, at_b=made), Noted("o", notes))
    assert read == await rest(stream)
    assert [f"o {event}" for event in read] == [
        one for one in notes if one[:2] == "o " and "first" not in one and "end" not in one
    ]


async def test_events_that_a_watch_makes_one_by_one_are_made_when_they_are_read() -> None:
    """What is closed before makes no more of them; a failure on the way fails the answer."""
    made: list[str] = []

    def pieces() -> Iterator[str]:
        for piece in ("x", "y", "z"):
            made.append(piece)
            yield piece
        raise ValueError("torn")

    notes: list[str] = []
    stream = await watched(Noted("i", notes, at_b=pieces), Noted("o", notes))
    assert ["a", "x"] == [await stream.next(), await stream.next()]
    assert ["x"] == made
    with pytest.raises(ValueError, match="torn"):
        await rest(stream)
    assert ["o y", "o z", "i end ValueError", "o end ValueError"] == notes[-4:]
    stream = await watched(Noted("i", [], at_b=pieces))
    assert ["a", "x"] == [await stream.next(), await stream.next()]
    await stream.aclose()
    assert ["x"] == made[3:]
    whole = EventStream(["b"])
    await whole.watch(Noted("w", [], at_b=lambda: iter("xy")))  # type: ignore[misc]
    assert ["x", "y"] == await rest(whole)


@pytest.mark.parametrize("event", ["a", "b"])
async def test_what_a_watch_awaits_comes_before_the_event(event: str) -> None:
    """An event is not handed on before what its watch returned has been awaited."""
    notes: list[str] = []

    async def keep() -> None:
        await asyncio.sleep(0)
        notes.append("kept")

    stream = await watched(Noted("i", notes, **{f"at_{event}": keep}), Noted("o", notes))
    assert ["a", "b", "c"] == await rest(stream)
    assert notes.index("kept") == notes.index(f"i {event}") + 1
    assert notes.index("kept") < notes.index(f"o {event}")


async def test_a_wait_that_a_watch_cancels_fails_by_its_reason() -> None:
    """A cancel by a timer's own hand is its failure, and the stream is over."""
    timer = Timer(TimeoutError("slow"))
    stream = EventStream([], Readable())
    stream.watch(timer)
    task = asyncio.ensure_future(stream.next())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(TimeoutError, match="slow"):
        await task
    assert (1, 1, True) == (timer.waits, timer.ended, stream.whole)


async def test_a_stream_outlives_its_readers_cancel() -> None:
    """Where its source can be read on, another task goes on where the first was cancelled."""
    timer, source = Timer(None), Readable()
    stream = EventStream([], source)
    stream.watch(timer)
    task = asyncio.ensure_future(stream.next())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    source.queue.put_nowait("a")
    assert (True, "a", 0) == (stream.resumable, await stream.next(), timer.ended)


async def test_what_cannot_be_read_on_is_not_taken_for_an_end() -> None:
    """A generator that was cancelled is lost: reading on says so, rather than that it is over."""

    async def silent() -> AsyncIterator[str]:
        yield "a"
        await asyncio.Event().wait()

    stream = await begun(silent())
    assert "a" == await stream.next()
    task = asyncio.ensure_future(stream.next())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    with pytest.raises(RuntimeError, match="lost"):
        await stream.next()
    assert asyncio.CancelledError is type(await stream.aclose(asyncio.CancelledError()))
