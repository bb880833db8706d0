"""A streamed answer within the chain: its events, and who watches them.

It is there when its first event is: whoever may still get the answer elsewhere, such as a retry,
awaits it like a whole answer. From then on an event takes one step from its source to the door,
past the watches that ask for events, innermost first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, cast

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

# What a watch may return for an event: None, and it is handed on; its bytes, which are handed on
# in its place; the events that take its place, none to hold it back, where those of an iterator are
# made one by one as they are read; or what is awaited before it is handed on.
More = bytes | list[Any] | Iterator[Any] | Awaitable[None] | None


class Watch:
    """What a layer wants to know of one answer; a method that a class does not have costs nothing.

    Each is called in the task that reads. What `first`, `event` or `answer` raise ends the answer:
    the watches further in are told that it was closed, this one and those further out of the error.
    """

    __slots__ = ()
    looks: ClassVar[bool] = False
    times: ClassVar[bool] = False
    goes_on: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        """Note which methods the class has of its own."""
        super().__init_subclass__()
        cls.looks = cls.event is not Watch.event
        cls.times = cls.waiting is not Watch.waiting
        cls.goes_on = cls.rest is not Watch.rest

    def waiting(self) -> None:
        """The reader begins to wait for the next event; ends with `event`, `cancelled` or `end`."""

    def cancelled(self) -> BaseException | None:
        """Return why the wait was cancelled, where this watch has done so; for those that time."""
        return None

    def first(self, event: Any, /) -> None:
        """The answer begins; `event` is told of its first event as well."""

    def event(self, event: Any, /) -> More:
        """Look at an event on its way out; see `More` for what to return."""

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


class EventStream:
    """Events under way. Whoever has it reads it to its end, or closes it.

    `next` may be cancelled and called again where `resumable`; the stream is not over by that.
    """

    __slots__ = (
        "_ahead",
        "_goes_on",
        "_looks",
        "_lost",
        "_opening",
        "_pieces",
        "_source",
        "_timers",
        "_watches",
        "resumable",
    )

    def __init__(
        self, ahead: Sequence[Any] = (), source: AsyncIterator[Any] | EventStream | None = None
    ) -> None:
        """Hold events that are there already, and what yields those that follow; None for none.

        A source with a true attribute `resumable` can be read on after a read was cancelled.
        """
        self._ahead = list(ahead)
        self._source = source
        self.resumable: bool = source is None or getattr(source, "resumable", False)
        self._lost = False
        self._goes_on = False  # where a watch may have it go on
        self._opening: asyncio.Future[EventStream] | None = None
        self._pieces: tuple[Iterator[Any], Callable[[Any], More]] | None = None
        self._watches: list[Watch] = []
        self._looks: list[Callable[[Any], More]] = []
        self._timers: list[Watch] = []

    @property
    def whole(self) -> bool:
        """Whether all of it is there: nothing is left to wait for."""
        return self._source is None and self._opening is None

    @property
    def ahead(self) -> Sequence[Any]:
        """The events that are there and have not been read."""
        return self._ahead

    def watch(self, watch: Watch) -> Awaitable[None] | None:
        """Let a layer watch, outside of those before it; await what is returned, if anything is.

        It is told of the events that are there at once, and of the end where all are there.

        Raises:
            BaseException: what the watch has raised; the stream is still to be closed.
        """
        self._watches.append(watch)
        if self._ahead:
            watch.first(self._ahead[0])
        if watch.looks:
            for place, event in enumerate(self._ahead):
                more = watch.event(event)
                if more is not None:
                    return self._watch_on(watch, place, more)
            self._looks.append(watch.event)
        return self._joins(watch)

    def _joins(self, watch: Watch) -> Awaitable[None] | None:
        """Let a watch that has seen what is there see the rest, or the end."""
        if watch.times:
            self._timers.append(watch)
        if watch.goes_on:
            self._goes_on = True
        if self._source is None:
            if watch.goes_on:
                return self._go_on()
            self._ended_well(watch)
        return None

    async def _watch_on(self, watch: Watch, place: int, more: More) -> None:
        """Go on with the events that are there from one on for which more is to be done."""
        told, left = self._ahead[:place], self._ahead[place:]
        for at, event in enumerate(left):
            told += await _replaced(event, watch.event(event) if at else more)
        self._ahead = told
        self._looks.append(watch.event)
        waiting = self._joins(watch)
        if waiting is not None:
            await waiting

    def _ended_well(self, watch: Watch) -> None:
        self._watches.remove(watch)
        error = watch.end(None)
        if error is not None:
            raise error

    async def next(self) -> Any:
        """Return the next event; None at the end.

        Raises:
            BaseException: why the answer has failed; it is over then.
            CancelledError: the reader was cancelled; the stream is to be closed or read on.
        """
        if self._ahead:
            return self._ahead.pop(0)
        if self._pieces is not None:
            return await self._next_piece(*self._pieces)
        source = self._source
        if source is None or self._lost:
            return await self._without_source()
        for timer in self._timers:
            timer.waiting()
        try:
            event = await source.__anext__()
        except BaseException as error:  # noqa: BLE001 - raised by it, unless it is the end
            return await self._over(error)
        for look in self._looks:
            try:
                more = look(event)
            except BaseException as error:  # noqa: BLE001 - told to all, and raised
                raise await self.fail(watch_of(look), error) from error.__cause__
            if more is not None:
                if type(more) is not bytes:
                    return await self._more(event, look, more)
                event = more
        return event

    async def _without_source(self) -> Any:
        """Return the next event of what is still to be opened; None at the end."""
        if self._lost:
            msg = "the stream was lost when its reader was cancelled"
            raise RuntimeError(msg)
        if self._opening is None:
            return None
        await self._go_on()
        return await self.next()

    def __aiter__(self) -> EventStream:
        """Iterate; does not close it."""
        return self

    async def __anext__(self) -> Any:
        """Return the next event."""
        event = await self.next()
        if event is None:
            raise StopAsyncIteration
        return event

    async def aclose(self, error: BaseException | None = None) -> BaseException:
        """Close it, for an error or because nobody wants more of it; return what it ended by.

        Does nothing more where it is over.
        """
        return await self.fail(None, error or GeneratorExit())

    async def fail(self, culprit: Watch | None, error: BaseException) -> BaseException:
        """End it by the error of a watch, or by one from outside; return what it ended by.

        The watches further in than `culprit` are told that it was closed.
        """
        source, self._source = self._source, None
        self._ahead, self._pieces = [], None
        try:
            if self._opening is not None:
                await self._leave(self._opening)
            await close(source)
        finally:
            if culprit in self._watches:
                place = self._watches.index(culprit)
                outer = self._watches[place:]
                del self._watches[place:]
                self._tell(GeneratorExit())
                self._watches = outer
            error = self._tell(error) or error
        return error

    async def _leave(self, opening: asyncio.Future[EventStream]) -> None:
        """Go on with nothing."""
        self._opening = None
        opening.cancel()
        try:
            await asyncio.wait((opening,))
        finally:
            if opening.done() and not opening.cancelled() and opening.exception() is None:
                await opening.result().aclose()

    def _tell(self, error: BaseException | None) -> BaseException | None:
        """Tell every watch of the end, innermost first; return the failure there is then."""
        watches, self._watches, self._looks = self._watches, [], []
        return end_all(watches, error)

    async def _go_on(self) -> None:
        """Go on with what follows the good end of the events, or tell of the end.

        What has to be opened is opened in a task: a reader who is cancelled ends nothing by that.
        """
        while self._source is None and self._watches:
            watch = self._watches[0]
            if self._opening is not None:
                await asyncio.wait((self._opening,))
            try:
                following = watch.rest() if self._opening is None else self._opened()
            except BaseException as error:  # noqa: BLE001 - told to all, and raised
                raise await self.fail(watch, error) from error.__cause__
            if isinstance(following, EventStream):
                await self._append(following)
            elif following is not None:
                self._opening = asyncio.ensure_future(following)
            else:
                del self._watches[0]
                failure = end_all((watch,), None)
                if failure is not None:
                    raise self._tell(failure) or failure

    def _opened(self) -> EventStream:
        """Return what has been opened to go on with; raises why it could not be."""
        opening, self._opening = self._opening, None
        assert opening is not None  # noqa: S101 - it has been waited for
        return opening.result()

    async def _append(self, more: EventStream) -> None:
        """Go on with a stream, behind whose own watches those stand that have not ended."""
        looks = [watch.event for watch in self._watches if watch.looks]
        timers = [watch for watch in self._watches if watch.times]
        self._source, more._source = more._source, None
        self.resumable = more.resumable
        self._watches = more._watches + self._watches
        self._looks = more._looks + looks
        self._timers = more._timers + timers
        self._ahead += await self._passed(more._ahead, looks)

    async def _passed(self, events: list[Any], looks: Sequence[Callable[[Any], More]]) -> list[Any]:
        """Return what becomes of events by watches."""
        for look in looks:
            told: list[Any] = []
            try:
                for one in events:
                    told += await _replaced(one, look(one))
            except BaseException as error:  # noqa: BLE001 - told to all, and raised
                raise await self.fail(watch_of(look), error) from error.__cause__
            events = told
        return events

    async def _over(self, error: BaseException) -> Any:
        """Tell that the source has ended, which it says by what it raises; go on, or return.

        Raises:
            BaseException: why it failed.
            CancelledError: the reader was cancelled, and not by a watch; it is not over by that.
        """
        if isinstance(error, StopAsyncIteration):
            self._source = None
            if self._goes_on:
                await self._go_on()
                return await self.next()
            failure = self._tell(None)
            if failure is not None:
                raise failure
            return None
        if isinstance(error, asyncio.CancelledError):
            for timer in self._timers:
                why = timer.cancelled()
                if why is not None:
                    raise await self.fail(timer, why) from None
            self._lost = not self.resumable
            raise error
        self._source = None
        raise self._tell(error) or error

    async def _more(self, event: Any, look: Callable[[Any], More], more: More) -> Any:
        """Return what is read next, where a watch wants more done for an event."""
        if isinstance(more, Iterator):
            return await self._next_piece(more, look)
        try:
            events = await _replaced(event, more)
        except BaseException as error:  # noqa: BLE001 - told to all, and raised
            raise await self.fail(watch_of(look), error) from error.__cause__
        return await self._further_out(events, look)

    async def _next_piece(self, pieces: Iterator[Any], look: Callable[[Any], More]) -> Any:
        """Return what is read next of the events that a watch gives in place of one."""
        try:
            piece = next(pieces, None)
        except BaseException as error:  # noqa: BLE001 - told to all, and raised
            raise await self.fail(watch_of(look), error) from error.__cause__
        self._pieces = None if piece is None else (pieces, look)
        return await self._further_out([] if piece is None else [piece], look)

    async def _further_out(self, events: list[Any], look: Callable[[Any], More]) -> Any:
        """Let the watches outside of one look at events that it has given; return what is next."""
        further_out = self._looks[self._looks.index(look) + 1 :]
        self._ahead = await self._passed(events, further_out)
        return await self.next()


def watch_of(look: Callable[[Any], More]) -> Watch:
    """Return the watch whose bound method this is."""
    return cast("Watch", cast("Any", look).__self__)


async def _replaced(event: Any, more: More) -> list[Any]:
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


def started_of(answer: Any) -> Any:
    """Return the `started` that an answer begins with, whole or open, to be written into.

    None where it has none, or where the first event has been read.
    """
    if isinstance(answer, EventStream):
        if not answer.ahead:
            return None
        answer = answer.ahead[0]
    return answer.started if answer.HasField("started") else None


async def close(events: Any) -> None:
    """Close what yields events, where it can be closed."""
    aclose = getattr(events, "aclose", None)
    if aclose is not None:
        await aclose()


async def begun(events: AsyncIterator[Any] | EventStream) -> EventStream:
    """Return a stream when its first event is there, or its end.

    Raises:
        BaseException: what `events` raises before that; it is closed then.
    """
    if isinstance(events, EventStream):
        return events
    try:
        first = await events.__anext__()
    except StopAsyncIteration:
        return EventStream()
    except BaseException:
        await close(events)
        raise
    return EventStream([first], events)
