"""What a layer wants to know of an answer on its way out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from enum import IntEnum
from typing import TYPE_CHECKING, Any, ClassVar, cast

from gemini.backend.v1.execute_service_pb2 import Delta, ExecuteResponse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gemini_backend.policies.event_stream import EventStream

# What a watch may return for an event: None, and it is handed on; its bytes, which are handed on
# in its place; the events that take its place, none to hold it back, where those of an iterator are
# made one by one as they are read; or what is awaited before it is handed on.
More = bytes | list[Any] | Iterator[Any] | Awaitable[None] | None
Look = Callable[[Any, Delta | None], More]


class Watch:
    """What a layer wants to know of one answer; a method that a class does not have costs nothing.

    Each is called in the task that reads. What `first`, `event` or `answer` raise ends the answer:
    the watches further in are told that it was closed, this one and those further out of the error.
    """

    __slots__ = ()
    begins: ClassVar[bool] = False
    looks: ClassVar[bool] = False
    times: ClassVar[bool] = False
    goes_on: ClassVar[bool] = False
    parts: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        """Note which methods the class has of its own."""
        super().__init_subclass__()
        cls.begins = cls.first is not Watch.first
        cls.looks = cls.event is not Watch.event
        cls.times = cls.waiting is not Watch.waiting
        cls.goes_on = cls.rest is not Watch.rest

    def waiting(self, reader: asyncio.Task[Any] | None, /) -> None:
        """A task begins to wait for the next event; ends with `event`, `cancelled` or `end`.

        Not told of an event that is there already.
        """

    def cancelled(self) -> BaseException | None:
        """Return why the wait was cancelled, where this watch has done so; for those that time."""
        return None

    def first(self, event: Any, /) -> None:
        """The answer begins; `event` is told of its first event as well."""

    def event(self, event: Any, delta: Delta | None, /) -> More:
        """Look at an event on its way out; see `More` for what to return.

        `delta` is the event's, None where it is of another kind: nearly all events are deltas, and
        each look into a message costs as much as all else that a watch does.
        """

    def rest(self) -> EventStream | Awaitable[EventStream] | None:
        """Return what the answer goes on with at the good end of its events; None for nothing.

        The watches further in have been told of that end. What is returned may be still to open;
        its events pass this watch and those further out, and at its end this is called again.
        """
        return None

    def answer(self, response: Any, /) -> Awaitable[None] | None:
        """Look at a whole answer on its way out; what is returned is awaited first."""

    def end(self, error: BaseException | None, /) -> BaseException | None:
        """The answer is over: well, with None; else by `error`.

        Called exactly once. `error` is a CancelledError where the reader was cancelled, and a
        GeneratorExit where it has left. What is returned takes the error's place for those further
        out; None for no change.
        """


class Step(IntEnum):
    """Where the reader of a stream is."""

    OUTSIDE = 0
    WAITING = 1
    HANDING_ON = 2


class Heir(Watch):
    """A watch that may part a stream from its reader, and read on what is further in.

    Attributes:
        step: Where the reader is. `EventStream.part` may be used while it is outside.
        reader: The task that waits, or did so last.
        claims: Whether it wants to be asked (`claim`) before the reader waits again.
    """

    __slots__ = ("claims", "reader", "step")
    parts = True

    def __init__(self) -> None:
        """Claim nothing yet."""
        self.step = Step.OUTSIDE
        self.reader: asyncio.Task[Any] | None = None
        self.claims = False

    def claim(self) -> None:
        """Part the stream, or not: its reader is about to wait, or was interrupted."""

    def left(self) -> None:
        """Part the stream, or not: its reader leaves before the end."""

    def interrupted(self) -> BaseException | bool:
        """Take back a cancel of this watch's; say what becomes of the wait that was cancelled.

        True where the reader has not left: `claim` is called, and it reads on. An error ends the
        answer. False where others have cancelled as well, or only they.
        """
        return False


class Writing(Watch):
    """A watch that may make an event's bytes, for the next one outside of it to use.

    Attributes:
        asked: Whether there is one that wants them.
        written: The last event that was written, and its bytes.
    """

    __slots__ = ("asked", "written")

    def __init__(self) -> None:
        """Write nothing yet."""
        self.asked = False
        self.written: tuple[Any, bytes] = (None, b"")


class Watched:
    """Who watches one stream, innermost first."""

    __slots__ = ("_goes_on", "_heir", "_looks", "_timers", "_watches")
    _watches: list[Watch]
    _looks: list[Look]
    _timers: list[Watch]
    _goes_on: bool
    _heir: Heir | None

    def _set_watches(self, watches: list[Watch]) -> None:
        self._watches = watches
        self._looks = [watch.event for watch in watches if watch.looks]
        self._timers = [watch for watch in watches if watch.times]
        self._goes_on = any(watch.goes_on for watch in watches)

    @property
    def last_to_look(self) -> Watch | None:
        """The outermost of those that look at events."""
        return watch_of(self._looks[-1]) if self._looks else None

    def _end_inner(self, place: int) -> None:
        """Tell the good end to so many watches, and to those outside of them that have no more.

        Raises:
            BaseException: what one of them ends the answer by, told to all those further out.
        """
        watches = self._watches
        while place < len(watches) and not watches[place].goes_on:
            place += 1
        inner, self._watches = watches[:place], watches[place:]
        if self._heir in inner:
            self._heir = None
        failure = end_all(inner, None)
        if failure is not None:
            raise self._tell(failure) or failure

    def _tell(self, error: BaseException | None) -> BaseException | None:
        """Tell every watch of the end, innermost first; return the failure there is then."""
        watches, self._watches, self._looks = self._watches, [], []
        return end_all(watches, error)


def watch_of(look: Look) -> Watch:
    """Return the watch whose bound method this is."""
    return cast("Watch", cast("Any", look).__self__)


def delta_of(event: Any) -> Delta | None:
    """Return the delta of an event; None where it is of another kind, or of another stream."""
    if type(event) is ExecuteResponse and event.HasField("delta"):
        return event.delta
    return None


async def replaced(event: Any, more: More) -> list[Any]:
    """Return the events in place of one."""
    if more is None:
        return [event]
    if isinstance(more, bytes):
        return [more]
    if isinstance(more, list):
        return more
    if isinstance(more, Iterator):
        return list(more)
    await more
    return [event]


def end_all(watches: Sequence[Watch], error: BaseException | None) -> BaseException | None:
    """Tell watches of the end, in this order; return the failure there is then."""
    for watch in watches:
        try:
            error = watch.end(error) or error
        except Exception as failure:  # noqa: BLE001 - a defect of one watch stops no other
            error = failure
    return error


async def passed(events: Sequence[Any], look: Look) -> list[Any]:
    """Return what becomes of events by one watch."""
    told: list[Any] = []
    for event in events:
        told += await replaced(event, look(event, delta_of(event)))
    return told


async def leave(opening: asyncio.Future[EventStream]) -> None:
    """Give up a stream that is being opened."""
    opening.cancel()
    try:
        await asyncio.wait((opening,))
    finally:
        if opening.done() and not opening.cancelled() and opening.exception() is None:
            await opening.result().aclose()


async def close(events: Any) -> None:
    """Close what yields events, where it can be closed."""
    aclose = getattr(events, "aclose", None)
    if aclose is not None:
        await aclose()
