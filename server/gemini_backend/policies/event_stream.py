"""A streamed answer within the chain: its events, and who watches them.

It is there when its first event is: whoever may still get the answer elsewhere, such as a retry,
awaits it like a whole answer. From then on an event takes one step from its source to the door,
past the watches that ask for events, innermost first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from gemini.backend.v1.execute_service_pb2 import ExecuteResponse
from gemini_backend.policies.watch import (
    Heir,
    Look,
    More,
    Step,
    Watch,
    Watched,
    close,
    delta_of,
    end_all,
    leave,
    passed,
    replaced,
    watch_of,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Sequence

    from gemini.backend.v1.execute_service_pb2 import Delta

__all__ = ["EventStream", "More", "Watch", "close", "delta_of", "end_all"]

_OUTSIDE, _WAITING, _HANDING_ON = Step


class EventStream(Watched):
    """Events under way. Whoever has it reads it to its end, or closes it.

    `next` may be cancelled and called again where `resumable`; the stream is not over by that.
    """

    __slots__ = (
        "_ahead",
        "_lost",
        "_opening",
        "_pieces",
        "_ready",
        "_seen",
        "_source",
        "resumable",
    )

    def __init__(
        self, ahead: Sequence[Any] = (), source: AsyncIterator[Any] | EventStream | None = None
    ) -> None:
        """Hold events that are there already, and what yields those that follow; None for none.

        A source with a true attribute `resumable` can be read on after a read was cancelled. One
        with a deque `ready` keeps there, from its first event on, what can be had without a wait.
        """
        self._ahead, self._source = list(ahead), source
        self._ready: Any = getattr(source, "ready", ())
        self.resumable: bool = source is None or getattr(source, "resumable", False)
        self._lost = False
        self._heir = None
        self._opening: asyncio.Future[EventStream] | None = None
        self._pieces: tuple[Iterator[Any], Look] | None = None
        self._seen: tuple[Any, Delta | None] = (None, None)
        self._watches = []
        self._looks = []
        self._timers = []
        self._goes_on = False

    @property
    def whole(self) -> bool:
        """Whether all of it is there: nothing is left to wait for."""
        return self._source is None and self._opening is None

    @property
    def readable(self) -> bool:
        """Whether it can be read on: nothing was lost when a read was cancelled."""
        return not self._lost and getattr(self._source, "readable", True)

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
        ahead = self._ahead
        if ahead and watch.begins:
            watch.first(ahead[0])
        if watch.looks:
            look = watch.event
            for place, event in enumerate(ahead):
                seen = self._seen
                if seen[0] is not event:
                    seen = self._seen = event, delta_of(event)
                more = look(event, seen[1])
                if more is not None:
                    if type(more) is not bytes:
                        return self._watch_on(watch, place, more)
                    ahead[place] = more
            self._looks.append(look)
        if watch.times:
            self._timers.append(watch)
        if watch.goes_on or watch.parts or self._source is None:
            return self._joins(watch)
        return None

    def _joins(self, watch: Watch) -> Awaitable[None] | None:
        """Let a watch that has seen what is there see the end, go on with more, or part it."""
        if watch.goes_on:
            self._goes_on = True
        if self._source is None:
            if watch.goes_on:
                return self._go_on()
            self._watches.remove(watch)
            error = watch.end(None)
            if error is not None:
                raise error
        elif isinstance(watch, Heir):
            self._heir = watch
        return None

    def part(self, heir: Heir, source: AsyncIterator[Any] | None) -> EventStream:
        """Return what is further in than a watch; those further out watch `source` from now on."""
        inner = EventStream((), self._source)
        inner.resumable, inner._lost, inner._opening = self.resumable, self._lost, self._opening
        place = self._watches.index(heir)
        inner._set_watches(self._watches[:place])
        self._set_watches(self._watches[place + 1 :])
        self._source, self._ready = source, getattr(source, "ready", ())
        self._opening = self._heir = None
        self.resumable, self._lost = True, False
        return inner

    async def _watch_on(self, watch: Watch, place: int, more: More) -> None:
        """Go on with the events that are there from one on for which more is to be done."""
        told = await replaced(self._ahead[place], more)
        told += await passed(self._ahead[place + 1 :], watch.event)
        self._ahead = self._ahead[:place] + told
        self._looks.append(watch.event)
        if watch.times:
            self._timers.append(watch)
        waiting = self._joins(watch)
        if waiting is not None:
            await waiting

    async def next(self) -> Any:  # noqa: C901, PLR0911, PLR0912 - one frame for each event
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
            if self._opening is None and not self._lost:
                return None
            return await self._without_source()
        heir = self._heir
        if heir is not None and heir.claims:
            heir.claim()
            return await self.next()
        if self._ready:
            event = self._ready.popleft()
        else:
            reader = asyncio.current_task()
            if heir is not None:
                heir.reader, heir.step = reader, _WAITING
            for timer in self._timers:
                timer.waiting(reader)
            try:
                event = await source.__anext__()
            except BaseException as error:  # noqa: BLE001 - raised by it, unless it is the end
                return await self._over(error)
        if heir is not None:
            heir.step = _HANDING_ON
        delta = event.delta if type(event) is ExecuteResponse and event.HasField("delta") else None
        for look in self._looks:
            try:
                more = look(event, delta)
            except BaseException as error:  # noqa: BLE001 - told to all, and raised
                raise await self.fail(watch_of(look), error) from error.__cause__
            if more is not None:
                if type(more) is not bytes:
                    return await self._more(event, look, more)
                event = more
        if heir is not None:
            heir.step = _OUTSIDE
        return event

    async def _without_source(self) -> Any:
        """Return the next event of what is still to be opened."""
        if self._lost:
            raise RuntimeError("the stream was lost when its reader was cancelled")
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
        """Close it, for an error or because nobody wants more of it; return what it ended by."""
        return await self.fail(None, error or GeneratorExit())

    async def fail(self, culprit: Watch | None, error: BaseException) -> BaseException:
        """End it by the error of a watch, or by one from outside; return what it ended by.

        The watches further in than `culprit` are told that it was closed.
        """
        heir, self._heir = self._heir, None
        if heir is not None and culprit is not heir and not self.whole:
            watches = self._watches
            if culprit not in watches or watches.index(heir) < watches.index(culprit):
                heir.step = _OUTSIDE
                heir.left()
        source, self._source, self._ready = self._source, None, ()
        self._ahead, self._pieces = [], None
        try:
            if self._opening is not None:
                opening, self._opening = self._opening, None
                await leave(opening)
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

    async def _go_on(self) -> None:
        """Go on with what follows the good end of the events, or tell of the end.

        What has to be opened is opened in a task, so that a reader who is cancelled ends nothing.
        """
        while self._source is None and self._watches:
            watch = self._watches[0]
            if not watch.goes_on:
                self._end_inner(0)
                continue
            if self._opening is not None and await self._interrupted(self._opening):
                return
            try:
                following = watch.rest() if self._opening is None else self._opened()
            except BaseException as error:  # noqa: BLE001 - told to all, and raised
                raise await self.fail(watch, error) from error.__cause__
            if isinstance(following, EventStream):
                await self._append(following)
            elif following is not None:
                self._opening, self.resumable = asyncio.ensure_future(following), True
            else:
                self._end_inner(1)
        if not self._watches:
            self._looks, self._timers = [], []  # whose watches refer to this stream

    async def _interrupted(self, opening: asyncio.Future[EventStream]) -> bool:
        """Wait for what is being opened; True where the heir has parted the stream meanwhile."""
        heir = self._heir
        if heir is not None:
            heir.reader, heir.step = asyncio.current_task(), _WAITING
        try:
            await asyncio.wait((opening,))
        except asyncio.CancelledError:
            if not await self._claimed():
                raise
            return True
        if heir is not None:
            heir.step = _HANDING_ON
        return False

    async def _claimed(self) -> bool:
        """Say of a cancelled wait whether the reader waits on; raise why where a watch ends it."""
        heir = self._heir
        told: BaseException | bool = False
        if heir is not None:
            heir.step = _OUTSIDE
            told = heir.interrupted()
        for timer in self._timers:
            why = timer.cancelled()
            if why is not None:
                raise await self.fail(timer, why) from None
        if heir is None or told is False:
            return False
        if told is not True:
            raise await self.fail(heir, told) from None
        heir.claim()
        return True

    def _opened(self) -> EventStream:
        """Return what has been opened to go on with; raises why it could not be."""
        opening, self._opening = self._opening, None
        assert opening is not None  # noqa: S101 - it has been waited for
        return opening.result()

    async def _append(self, more: EventStream) -> None:
        """Go on with a stream, behind whose own watches those stand that have not ended."""
        looks = [watch.event for watch in self._watches if watch.looks]
        self._source, self._ready = more._source, more._ready
        more._source, more._ready = None, ()
        self.resumable = more.resumable
        self._set_watches(more._watches + self._watches)
        self._ahead += await self._passed(more._ahead, looks)

    async def _passed(self, events: list[Any], looks: Sequence[Look]) -> list[Any]:
        """Return what becomes of events by watches."""
        for look in looks:
            try:
                events = await passed(events, look)
            except BaseException as error:  # noqa: BLE001 - told to all, and raised
                raise await self.fail(watch_of(look), error) from error.__cause__
        return events

    async def _over(self, error: BaseException) -> Any:
        """Tell that the source has ended, which it says by what it raises; go on, or return.

        Raises:
            BaseException: why it failed.
            CancelledError: the reader was cancelled, and not by a watch; it is not over by that.
        """
        if isinstance(error, StopAsyncIteration):
            self._source, self._ready = None, ()
            if self._goes_on:
                if self._heir is not None:
                    self._heir.step = _HANDING_ON
                await self._go_on()
                if self._heir is not None:
                    self._heir.step = _OUTSIDE
                return await self.next() if self._ahead or not self.whole else None
            self._heir = None
            failure = self._tell(None)
            if failure is not None:
                raise failure
            return None
        if isinstance(error, asyncio.CancelledError):
            self._lost = not self.resumable
            if await self._claimed():
                return await self.next()
            raise error
        self._source, self._ready = None, ()
        self._heir = None
        raise self._tell(error) or error

    async def _more(self, event: Any, look: Look, more: More) -> Any:
        """Return what is read next, where a watch wants more done for an event."""
        if isinstance(more, Iterator):
            return await self._next_piece(more, look)
        try:
            events = await replaced(event, more)
        except BaseException as error:  # noqa: BLE001 - told to all, and raised
            raise await self.fail(watch_of(look), error) from error.__cause__
        return await self._further_out(events, look)

    async def _next_piece(self, pieces: Iterator[Any], look: Look) -> Any:
        """Return what is read next of the events that a watch gives in place of one."""
        try:
            piece = next(pieces, None)
        except BaseException as error:  # noqa: BLE001 - told to all, and raised
            raise await self.fail(watch_of(look), error) from error.__cause__
        self._pieces = None if piece is None else (pieces, look)
        return await self._further_out([] if piece is None else [piece], look)

    async def _further_out(self, events: list[Any], look: Look) -> Any:
        """Let the watches outside of one look at events that it has given; return what is next."""
        further_out = self._looks[self._looks.index(look) + 1 :]
        heir = self._heir
        self._ahead = await self._passed(events, further_out)
        if heir is not None and (self._pieces is None or heir.event not in further_out):
            heir.step = _OUTSIDE
        return await self.next()
