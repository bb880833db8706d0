"""A stream that several calls may follow, at hardly any price as long as there is only one.

It is opened in a task of its own, for that is when a stampede arrives. Who reads alone reads the
open stream in its own task, and the flight looks on (`lead.py`). As soon as there are more, or the
reader leaves others behind, the stream is parted from it and read on in a task of the flight,
which writes to a tape: nobody's leaving stops it, and upstream is asked once.
"""

from __future__ import annotations

import asyncio
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, NamedTuple

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.call import CURRENT
from gemini_backend.policies.event_stream import EventStream, delta_of
from gemini_backend.policies.opening import started_of
from gemini_backend.policies.sharing.detached_run import cancelled, written
from gemini_backend.policies.sharing.following import Following, Waiting
from gemini_backend.policies.sharing.lead import Lead
from gemini_backend.policies.sharing.replay_buffer import ReplayBuffer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gemini_backend.call import Call
    from gemini_backend.clock import Clock
    from gemini_backend.policies.sharing.flights import Flights, Likeness
    from gemini_backend.policies.sharing.subscribers import Subscribers

_COALESCED = pb.CACHE_STATUS_COALESCED


class Control(NamedTuple):
    """Who is told what of a flight.

    Attributes:
        flights: Told when nobody else may join, and when all is over.
        joined: Told of each call that follows another's run.
        on_growth: Told of bytes that are kept, or let go.
    """

    flights: Flights[Flight]
    joined: Callable[[Call, Flight], None]
    on_growth: Callable[[int], None] | None


class Flight:
    """One run of the rest, from the first call that asks for it to the last that leaves.

    Attributes:
        subscribers: The calls on board.
        tape: What there has been.
        stopping: Whether it is being cancelled.
        holds: Whether deltas are kept, and their bytes made by somebody else.
        end_place: How many events there are where the answer is complete; 0 before.
    """

    def __init__(
        self,
        subscribers: Subscribers,
        max_bytes: int,
        clock: Clock,
        control: Control,
        like: Likeness,
        *,
        same_bytes: bool,
    ) -> None:
        """Stand ready.

        Args:
            subscribers: Who is on board, with the call of the run.
            max_bytes: How much is kept for those that read slowly, or come late.
            clock: Keeps the deadlines of those that wait for each other.
            control: Is told how it goes.
            like: By which calls find it.
            same_bytes: Whether deltas go out as they come in but for their numbers, so that their
                bytes are kept as they are made further out.
        """
        self.subscribers = subscribers
        self.stopping = False
        self.end_place = 0
        self.tape = ReplayBuffer(
            max_bytes, paced=True, on_cut=self._cut, on_growth=control.on_growth
        )
        self._clock = clock
        self._same_bytes = self.holds = same_bytes
        self._control = control
        self._like = like
        self._context = copy_context()
        self._context.run(CURRENT.set, subscribers.run)
        self._task: asyncio.Task[None] | None = None
        self._stream: EventStream | None = None  # open, and nobody reads it at this moment
        self._lead: Lead | None = None
        self._first: Following | None = None  # who is to read alone
        self._landing: asyncio.Future[None] | None = None
        self._began = False
        self._apart = False  # is read in a task of its own, or about to be
        self._keeps = True
        self._went_down = False  # with the one that read alone
        self._waiting: set[Waiting] = set()

    async def begin(self, call: Call, opens: Callable[[], Awaitable[EventStream]]) -> EventStream:
        """Open the stream by `opens`, for the first call; it reads alone if nobody else has come.

        Raises:
            BaseException: why it could not be opened.
        """
        first = self._first = self._enter(call)
        landing = self._landing = asyncio.get_running_loop().create_future()
        self._run(self._open(opens))
        try:
            await landing
        except BaseException:
            await self.leave(first)
            raise
        stream = self._stream
        if self._apart or stream is None:  # its own task takes the stream, if it has not yet
            if first.reader is None:
                first.reader = self.tape.join(call, self._clock)
            return await self._follow(first)
        self._stream = None
        self._lead = Lead(self, stream, first)
        if self._same_bytes:
            call.outcome.keeper = self.tape
        stream.watch(self._lead)
        return stream

    async def join(self, call: Call) -> EventStream | None:
        """Follow, from the first event on; None where it has gone down with its only reader.

        Raises:
            DeadlinePassed: the call's own deadline passed first.
            ServiceError: the run failed.
        """
        while self._lead is not None and not self._lead.can_part():
            waiting = Waiting(call, self._clock, self._waiting)
            self._lead.claims = True
            try:
                await waiting.wait()
            except BaseException:
                self._release()
                raise
        if self._went_down or self.tape.first:
            return None
        follower = self._enter(call)
        follower.reader = self.tape.join(call, self._clock)
        self._part()
        self._control.joined(call, self)
        events = await self._follow(follower)
        started = started_of(events)
        if started is not None:
            started.cache_status = _COALESCED
        return events

    async def cancel(self) -> None:
        """Stop, and come back when everything further in is closed."""
        if self.tape.ended:
            return  # and everything further in was closed before
        self.stopping = True
        self.close_doors()
        lead, task = self._lead, self._task
        if lead is not None:
            task = lead.stop(cancelled(self.subscribers.run)) or self._task
        if task is not None and not task.done():
            if lead is None or self._lead is None:
                task.cancel()
                if not self._began:  # then it runs nothing that could tell
                    self.end(cancelled(self.subscribers.run))
            await asyncio.wait({task})
        stream, self._stream = self._stream, None
        if stream is not None:
            await stream.aclose()
            self.end(cancelled(self.subscribers.run))

    async def leave(self, member: Following) -> None:
        """Let a call go; does nothing where it has gone. The last one stops the run."""
        if member not in self.subscribers.members:
            return
        self.left(member)
        if not self.subscribers.members:
            self.close_doors()
            await self.cancel()

    def close_doors(self) -> None:
        """Let nobody else join."""
        self._control.flights.close(self._like, self)

    def left(self, member: Following) -> None:
        """Let a call go, whatever becomes of the run."""
        if member.reader is not None:
            member.reader.close()
        self.subscribers.leave(member)
        member.call.outcome.keeper = None
        if self.tape.ended:
            self._release()

    def write(self, event: Any) -> None:
        """Keep an event, unless nobody can ask for it any more."""
        self.take(event, delta_of(event), given=False)

    def take(self, event: Any, delta: pb.Delta | None, *, given: bool) -> None:
        """Keep an event with its delta, if it is one; `given` is one that is read."""
        if delta is not None:
            if not self._keeps:
                return
            if self._same_bytes:
                self.tape.hold(event, None if given else event)
            else:
                self.tape.append(event, hand_over=not given)
            return
        if self._keeps:
            self.tape.append(event, hand_over=not given)
        if event.HasField("completed"):
            self.end_place = self.tape.length
            if self._lead is not None:
                self.subscribers.tell_end(self._lead.member)

    def take_off(self, lead: Lead, *, leaves: bool = False) -> None:
        """Part the stream from who has read it alone, and read on in a task."""
        member, self._lead = lead.member, None
        self._apart = True
        self.tape.settle()
        if not leaves:
            member.reader = self.tape.join(member.call, self._clock, self.tape.length)
        self._stream = lead.stream.part(lead, None if leaves else member)
        self._run(self._go_on())
        self._tell_waiting()

    def landed(self, error: BaseException | None) -> None:
        """Take note that who reads alone has read to the end, or left."""
        lead, self._lead = self._lead, None
        if lead is not None:
            self.left(lead.member)
        if isinstance(error, (asyncio.CancelledError, GeneratorExit)):
            self._went_down = True
            error = cancelled(self.subscribers.run)
        self.end(error)
        self._tell_waiting()

    def end(self, error: BaseException | None) -> None:
        """Tell everybody, once."""
        if not self.tape.ended:
            self.close_doors()
            self._control.flights.landed(self)
            if not self.subscribers.members and not self._waiting:
                self.tape.forget()  # before its size is told once more
            self.tape.end(error)
            self._land()

    def _release(self) -> None:
        """Keep nothing any more when all is over and nobody reads."""
        if self.tape.ended and not self.subscribers.members and not self._waiting:
            self.tape.forget()

    def _enter(self, call: Call) -> Following:
        member = Following(self, call)
        self.subscribers.enter(member)
        return member

    async def _follow(self, member: Following) -> EventStream:
        """Return what a member reads off the tape, when its first event is there."""
        if self._same_bytes:
            member.call.outcome.keeper = self.tape
        try:
            event = await member.__anext__()
        except StopAsyncIteration:
            return EventStream()
        except BaseException:
            await self.leave(member)
            raise
        return EventStream([event], member)

    def _part(self) -> None:
        """Have it read on in a task of its own, now or as soon as it can be."""
        if self._apart or self.tape.ended:
            return
        self._apart = True
        if self._lead is not None:
            self._lead.part()
            return
        first = self._first
        if first is not None and first in self.subscribers.members:
            first.reader = self.tape.join(first.call, self._clock)
        self._land()
        if self._stream is not None:
            self._run(self._go_on())

    def _run(self, work: Any) -> None:
        self._task = asyncio.get_running_loop().create_task(work, context=self._context)

    async def _open(self, opens: Callable[[], Awaitable[EventStream]]) -> None:
        self._began = True
        try:
            self._stream = await opens()
        except asyncio.CancelledError:
            self.end(cancelled(self.subscribers.run))
            raise
        except Exception as failure:  # noqa: BLE001 - every reader is told, whatever it is
            self.end(failure)
            return
        if self._apart:
            await self._go_on()
        else:
            self._land()

    async def _go_on(self) -> None:
        stream, self._stream = self._stream, None
        error: BaseException | None = None
        try:
            if stream is not None and not self.stopping:
                await written(stream, self.tape, self.write)
        except asyncio.CancelledError:
            error = cancelled(self.subscribers.run)
            raise
        except Exception as failure:  # noqa: BLE001 - every reader is told, whatever it is
            error = failure
        finally:
            if stream is not None and self.stopping:
                await stream.aclose()
                error = error or cancelled(self.subscribers.run)
            self.end(error)

    def _land(self) -> None:
        landing = self._landing
        if landing is not None and not landing.done():
            landing.set_result(None)

    def leads(self, lead: Lead) -> bool:
        """Say whether it still reads alone."""
        return self._lead is lead

    def _tell_waiting(self) -> None:
        if self._waiting:
            for waiting in tuple(self._waiting):
                waiting.wake()

    def _cut(self) -> None:
        """Nobody can join any more; then nothing is kept for who reads alone."""
        self.close_doors()
        if not self.tape.readers:
            self._keeps = self.holds = False
            self.tape.forget()
