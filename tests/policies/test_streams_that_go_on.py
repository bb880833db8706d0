"""Answers that go on with other streams, what is read in one go, and deltas for watches."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import pytest

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1.content_pb2 import Part
from gemini_backend.policies.event_stream import EventStream, Watch
from tests.support.layers.noted_watches import Noted, Readable, Timer, rest, watched


class GoesOn(Noted):
    """Has an answer go on with what a test says, one after the other."""

    def __init__(self, name: str, notes: list[str], *further: Any, **does: Any) -> None:
        super().__init__(name, notes, **does)
        self.further = list(further)

    def rest(self) -> Any:
        self.notes.append(f"{self.name} rest")
        following = self.further.pop(0) if self.further else None
        if isinstance(following, Exception):
            raise following
        return following() if callable(following) else following


def opens(text: str, *watches: Watch) -> Any:
    """Return what opens a stream of these letters, watched."""

    async def opened() -> EventStream:
        await asyncio.sleep(0)
        return await watched(*watches, text=text)

    return opened


async def test_an_answer_may_go_on_with_other_streams() -> None:
    """Their own watches are told of each end; those further out see one answer and one end."""
    notes: list[str] = []
    further = [opens("cd", Noted("i2", notes)), EventStream(["e"])]
    goes_on = GoesOn("w", notes, *further)
    stream = await watched(Noted("i", notes), goes_on, Noted("o", notes), text="ab")
    assert ["a", "b", "c", "d", "e"] == await rest(stream)
    ends = [note for note in notes if "end" in note or "rest" in note]
    told = ["i end well", "w rest", "i2 end well", "w rest", "w rest", "w end well", "o end well"]
    assert told == ends
    letters_of = [note[2:] for note in notes if note[:2] == "o " and len(note) == 3]
    assert ["a", "b", "c", "d", "e"] == letters_of
    assert ["i a", "i b"] == [note for note in notes if note[:2] == "i " and len(note) == 3]
    assert True is stream.whole


async def test_an_answer_that_is_there_may_go_on() -> None:
    """A watch that comes to a stream whose events are all there has it go on at once."""
    notes: list[str] = []
    stream = EventStream(["a"])
    waiting = stream.watch(GoesOn("w", notes, opens("bc")))
    assert waiting is not None
    await waiting
    assert ["a", "b", "c"] == await rest(stream)


async def test_what_a_watch_holds_back_may_come_last() -> None:
    """An event that is held back is none for those further out, until it is put behind the end."""
    notes: list[str] = []
    held = GoesOn("w", notes, EventStream(["C"]), at_c=[])
    stream = await watched(held, Noted("o", notes), text="abc")
    assert ["a", "b", "C"] == await rest(stream)
    assert ["o a", "o b", "o C"] == [note for note in notes if note[:2] == "o " and len(note) == 3]


@pytest.mark.parametrize("late", [False, True], ids=["at once", "while it opens"])
async def test_an_answer_that_cannot_go_on_fails(late: bool) -> None:
    """The failure is told to who wanted it to go on and to those further out; not further in."""
    notes: list[str] = []

    async def failing() -> EventStream:
        raise ValueError("down")

    further = failing if late else ValueError("down")
    goes_on = GoesOn("w", notes, further)
    stream = await watched(Noted("i", notes), goes_on, Noted("o", notes), text="ab")
    with pytest.raises(ValueError, match="down"):
        await rest(stream)
    assert ["i end well", "w end ValueError", "o end ValueError"] == [
        note for note in notes if "end" in note
    ]
    assert None is await stream.next()


async def test_a_reader_who_is_cancelled_stops_no_opening() -> None:
    """What is being opened to go on with is there for the next reader."""
    gate = asyncio.Event()

    async def slow() -> EventStream:
        await gate.wait()
        return EventStream(["b"])

    stream = await watched(GoesOn("w", [], slow), text="a")
    assert "a" == await stream.next()
    task = asyncio.ensure_future(stream.next())
    for _ in range(3):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert (True, False) == (task.cancelled(), stream.whole)
    gate.set()
    assert "b" == await stream.next()


@pytest.mark.parametrize("turns", [1, 5], ids=["opening", "opened"])
async def test_closing_leaves_nothing_open(turns: int) -> None:
    """A stream that is closed while it opens another one closes that as well, and its task."""
    source, notes = Readable(), list[str]()

    async def opened() -> EventStream:
        for _ in range(3):
            await asyncio.sleep(0)
        stream = EventStream(["b"], source)
        stream.watch(Noted("i2", notes))
        return stream

    stream = await watched(GoesOn("w", notes, opened), text="a")
    await stream.next()
    task = asyncio.ensure_future(stream.next())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    for _ in range(turns):
        await asyncio.sleep(0)
    await stream.aclose()
    opened_once = int("i2 first b" in notes)
    assert (opened_once, True) == (source.closed, "w end GeneratorExit" in notes)
    assert {asyncio.current_task()} == asyncio.all_tasks()


class Bursting(Readable):
    """A source that has more of what it was read from."""

    def __init__(self) -> None:
        super().__init__()
        self.ready: deque[Any] = deque()


async def test_what_is_ready_is_read_without_a_wait() -> None:
    """No watch is told of a wait for an event that came with the one before; of all others each."""
    source, timer, notes = Bursting(), Timer(None), list[str]()
    stream = EventStream(["a"], source)
    stream.watch(timer)
    stream.watch(Noted("w", notes))
    source.ready.extend("bc")
    source.queue.put_nowait("d")
    read = [await stream.next() for _ in range(4)]
    assert (["a", "b", "c", "d"], 1) == (read, timer.waits)
    assert ["w first a", "w a", "w b", "w c", "w d"] == notes
    await stream.aclose()
    source.ready.append("e")
    assert None is await stream.next()


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (pb.ExecuteResponse(delta=pb.Delta(parts=[Part(text="a")])), "a"),
        (pb.ExecuteResponse(started=pb.Started()), None),
        ("anything", None),
    ],
)
async def test_a_watch_is_given_the_delta_of_an_event(event: Any, text: str | None) -> None:
    """Both where the event is there already and where it is read later."""

    class Looks(Watch):
        def event(self, _event: Any, delta: pb.Delta | None, /) -> None:
            seen.append(None if delta is None else delta.parts[0].text)

    seen: list[str | None] = []
    source = Readable()
    stream = EventStream([event], source)
    stream.watch(Looks())
    await stream.next()
    source.queue.put_nowait(event)
    await stream.next()
    assert [text, text] == seen
