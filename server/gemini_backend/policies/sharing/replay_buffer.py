"""A tape: the events of one run, kept as bytes, that any number of readers follow at their pace.

Whoever joins late is given what is there, then follows. Events are kept serialised, because the
layers outside write into those that they are handed; each reader gets messages of its own.
"""

from __future__ import annotations

import asyncio
import copy
from typing import TYPE_CHECKING, Any, cast

from gemini_backend.errors import Overloaded, ServiceError
from gemini_backend.policies.attempts import deadline_passed
from gemini_backend.sizes import KIB

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gemini_backend.call import Call
    from gemini_backend.clock import Alarm, Clock

# How far, in bytes, a run may be ahead of its fastest reader before it waits for it.
AHEAD_BYTES = 256 * KIB
# What an event costs beside its bytes.
EVENT_OVERHEAD_BYTES = 48


class ReplayBuffer:
    """Events from the first one on, and their end.

    `max_bytes` bounds what is kept. At it the oldest events are let go, first those that every
    reader has read, and then nobody can join at the beginning any more (`on_cut` is called once).
    A reader that had not read them yet fails. With `paced`, whoever appends waits for `room`, so
    that the fastest reader is never far behind, and never failed.
    """

    def __init__(
        self,
        max_bytes: int,
        *,
        paced: bool = False,
        on_cut: Callable[[], None] | None = None,
        on_growth: Callable[[int], None] | None = None,
    ) -> None:
        """Begin with nothing; `on_growth` is told of the bytes that each event adds or frees."""
        self.bytes = 0
        self.ended = False
        self.error: BaseException | None = None
        self.length = 0  # how many events there have been
        self.total = 0  # bytes of all events there have been
        self.furthest = 0  # bytes that the fastest reader has read
        self.readers: dict[Reader, None] = {}  # in the order in which they came
        self._max_bytes = max_bytes
        self._paced = paced
        self._on_cut = on_cut
        self._on_growth = on_growth
        self._kept: list[bytes] = []
        self._first = 0  # the place of the first event that is kept
        self._kind: Any = None
        self._newest: Any = None  # the last event as it was made, for whoever asks first
        self._producer: asyncio.Future[None] | None = None

    @classmethod
    def whole(cls, events: Sequence[Any], max_bytes: int) -> ReplayBuffer:
        """Return the tape of a run that is over already; its last events, where it is too long."""
        buffer = cls(max_bytes)
        buffer._kind = type(events[0])
        buffer._kept = [event.SerializeToString() for event in events]
        buffer.length = len(events)
        buffer.total = sum(map(len, buffer._kept))
        buffer.bytes = buffer.total + EVENT_OVERHEAD_BYTES * buffer.length
        buffer.ended = True
        if buffer.bytes > max_bytes:
            buffer._make_room()
        return buffer

    @property
    def first(self) -> int:
        """The place of the first event that can be had, counted from 0."""
        return self._first

    def append(self, event: Any, *, hand_over: bool = False) -> None:
        """Keep an event; with `hand_over` the first reader to ask may have the message itself."""
        data = event.SerializeToString()
        before = self.bytes
        self._kind = type(event)
        self._newest = event if hand_over else None
        self._kept.append(data)
        self.bytes += len(data) + EVENT_OVERHEAD_BYTES
        self.total += len(data)
        self.length += 1
        if self.bytes > self._max_bytes:
            self._make_room()
        if self._on_growth is not None:
            self._on_growth(self.bytes - before)
        for reader in self.readers:
            reader.wake()

    @property
    def crowded(self) -> bool:
        """Whether whoever appends is too far ahead of its fastest reader, and has to wait."""
        return self.total - self.furthest > AHEAD_BYTES and bool(self.readers)

    def alone(self) -> bool:
        """Say whether there is exactly one reader."""
        return len(self.readers) == 1

    def shrink(self, max_bytes: int) -> None:
        """Keep less from now on."""
        before = self.bytes
        self._max_bytes = min(self._max_bytes, max_bytes)
        if self.bytes > self._max_bytes:
            self._make_room()
        if self._on_growth is not None:
            self._on_growth(self.bytes - before)

    def detach(self) -> None:
        """Tell nobody of its size any more."""
        self._on_growth = None

    def end(self, error: BaseException | None = None) -> None:
        """Say that nothing more comes, and why, if it is a failure."""
        self.ended, self.error = True, error
        for reader in self.readers:
            reader.wake()

    def join(self, call: Call, clock: Clock, after: int = 0) -> Reader:
        """Return a reader of what follows the first `after` events, for as long as `call` may."""
        reader = Reader(self, call, clock, after)
        self.readers[reader] = None
        self.has_read(reader.done)
        return reader

    def leave(self, reader: Reader) -> None:
        """Forget a reader."""
        self.readers.pop(reader, None)
        self.furthest = max((one.done for one in self.readers), default=self.total)
        self._let_go_on()

    def at(self, place: int) -> tuple[Any, int]:
        """Return the event at a place as a message of its own, and its bytes.

        Raises:
            Overloaded: it has been let go.
        """
        kept = place - self._first
        if kept < 0:
            raise _too_slow(self._max_bytes)
        data = self._kept[kept]
        if self._newest is not None and place == self.length - 1:
            event, self._newest = self._newest, None
            return event, len(data)
        return self._kind.FromString(data), len(data)

    def size_at(self, place: int) -> int:
        """Return the bytes of the event at a place that is kept."""
        return len(self._kept[place - self._first])

    async def room(self) -> None:
        """Wait until the fastest reader has caught up; at once where there is no reader."""
        while self.crowded:
            self._producer = asyncio.get_running_loop().create_future()
            try:
                await self._producer
            finally:
                self._producer = None

    def has_read(self, done: int) -> None:
        """Take note that a reader has read so many bytes."""
        if done > self.furthest:
            self.furthest = done
            if self._producer is not None:
                self._let_go_on()

    def _let_go_on(self) -> None:
        producer = self._producer
        if producer is not None and not producer.done() and not self.crowded:
            producer.set_result(None)

    def _make_room(self) -> None:
        if self._on_cut is not None:
            self._on_cut()
            self._on_cut = None
        places = [reader.place for reader in self.readers]
        if places:
            self._drop_to(min(places))
        spared = max(places) if self._paced and places else self.length - 1
        while self.bytes > self._max_bytes and self._first < spared:
            self._drop_to(self._first + 1)

    def _drop_to(self, place: int) -> None:
        count = max(0, place - self._first)
        self.bytes -= sum(map(len, self._kept[:count])) + EVENT_OVERHEAD_BYTES * count
        del self._kept[:count]
        self._first += count


class Reader:
    """One follower of a tape, at its own place; bounded by its own call's deadline.

    `task` is the one that reads: a layer further out may let one task begin and another go on.
    `when_late` is called when the deadline passes, for whoever waits for something else than an
    event of the tape.
    """

    __slots__ = (
        "_alarm",
        "_buffer",
        "_call",
        "_late",
        "_waiter",
        "done",
        "place",
        "task",
        "when_late",
    )

    def __init__(self, buffer: ReplayBuffer, call: Call, clock: Clock, after: int) -> None:
        """Stand after so many events of `buffer`; `done` is their bytes."""
        self._buffer = buffer
        self._call = call
        self._waiter: asyncio.Future[None] | None = None
        self._late = False
        self.task: asyncio.Task[Any] = cast("asyncio.Task[Any]", asyncio.current_task())
        self.when_late: Callable[[Reader], None] | None = None
        self.place = after
        self.done = buffer.total - sum(map(buffer.size_at, range(after, buffer.length)))
        self._alarm: Alarm | None = None
        left = call.remaining(clock.now())
        if left is not None:
            self._alarm = clock.alarm(left, self._ring)

    async def read(self) -> Any:
        """Return the next event; None at the end of a run that ended well.

        Raises:
            DeadlinePassed: the call's own deadline passed.
            Overloaded: it read so slowly that the event was let go.
            ServiceError: the run failed; each reader gets an error of its own.
        """
        buffer = self._buffer
        while self.place >= buffer.length:
            if self._late:
                break
            if buffer.ended:
                if buffer.error is not None:
                    raise fresh(buffer.error)
                return None
            await self._wait(asyncio.get_running_loop().create_future())
        self.check_time()
        event, size = buffer.at(self.place)
        self.place += 1
        self.done += size
        buffer.has_read(self.done)
        return event

    async def wait_for(self, waiter: asyncio.Future[None]) -> None:
        """Wait for something else than an event.

        Raises:
            DeadlinePassed: the call's own deadline passed first.
        """
        if not self._late:
            await self._wait(waiter)
        self.check_time()

    def check_time(self) -> None:
        """Raise when the deadline of its call has passed.

        Raises:
            DeadlinePassed: it has.
        """
        if self._late:
            raise deadline_passed(self._call)

    @property
    def caught_up(self) -> bool:
        """Whether it has read all that there is so far."""
        return self.place >= self._buffer.length

    def skip(self) -> None:
        """Count the latest event as read: the reader has it from elsewhere."""
        self.place = self._buffer.length
        self.done = self._buffer.total
        self._buffer.has_read(self.done)

    async def _wait(self, waiter: asyncio.Future[None]) -> None:
        self._waiter = waiter
        try:
            await waiter
        finally:
            self._waiter = None

    def wake(self) -> None:
        """Look again."""
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def close(self) -> None:
        """Leave the tape."""
        if self._alarm is not None:
            self._alarm.cancel()
        self._buffer.leave(self)

    def _ring(self) -> None:
        self._alarm, self._late = None, True
        if self.when_late is not None:
            self.when_late(self)
        self.wake()


def fresh(error: BaseException) -> BaseException:
    """Return an error that the layers of one call may write into without the others seeing it."""
    if not isinstance(error, ServiceError):
        return error
    own = copy.copy(error)
    own.metadata = dict(error.metadata)
    if error.failure is not None:
        own.failure = type(error.failure)()
        own.failure.CopyFrom(error.failure)
    return own


def _too_slow(max_bytes: int) -> Overloaded:
    return Overloaded(
        f"this reader fell more than {max_bytes} bytes behind the others of a shared or kept "
        "answer; read faster, or use cache_control BYPASS for a separate answer"
    )
