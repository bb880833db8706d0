"""Streams that are open: read, watched, failed, closed, and read on after a cancel.

Covers: policies/opening.py
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

import pytest

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1.content_pb2 import Part
from gemini_backend.policies.event_stream import EventStream, Watch
from gemini_backend.policies.opening import begun

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


class Noted(Watch):
    """Notes all that it is told, and does what a test wants of it."""

    def __init__(self, name: str, notes: list[str], **does: Any) -> None:
        self.name, self.notes, self.does = name, notes, does

    def first(self, event: Any, /) -> None:
        self.notes.append(f"{self.name} first {event}")

    def event(self, event: Any, _delta: Any, /) -> Any:
        self.notes.append(f"{self.name} {event}")
        made = self.does.get(f"at_{event}")
        if isinstance(made, Exception):
            raise made
        return made() if callable(made) else made

    def end(self, error: BaseException | None, /) -> BaseException | None:
        self.notes.append(f"{self.name} end {type(error).__name__ if error else 'well'}")
        return self.does.get("end")


class Timer(Watch):
    """Says that it was the one who cancelled, if it was."""

    def __init__(self, why: Exception | None) -> None:
        self.why, self.waits, self.ended = why, 0, 0

    def waiting(self, _reader: Any, /) -> None:
        self.waits += 1

    def cancelled(self) -> BaseException | None:
        return self.why

    def end(self, _error: BaseException | None, /) -> None:
        self.ended += 1


class Readable:
    """A source that can be read on after a read was cancelled."""

    resumable = True

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Any] = asyncio.Queue()
        self.closed = 0

    async def __anext__(self) -> Any:
        return await self.queue.get()

    def __aiter__(self) -> Any:
        return self

    async def aclose(self) -> None:
        self.closed += 1


async def letters(text: str = "abc", error: Exception | None = None) -> AsyncIterator[str]:
    for letter in text:
        yield letter
    if error is not None:
        raise error


async def rest(stream: EventStream) -> list[Any]:
    found = []
    while (event := await stream.next()) is not None:
        found.append(event)
    return found


async def watched(
    *watches: Watch, text: str = "abc", error: Exception | None = None
) -> EventStream:
    stream = await begun(letters(text, error))
    for watch in watches:
        waiting = stream.watch(watch)
        if waiting is not None:
            await waiting
    return stream


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
