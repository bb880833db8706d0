"""A tape: the events of one run, kept as bytes, that any number of readers follow at their pace.

Whoever joins late is given what is there, then follows. Events are kept serialised, because the
layers outside write into those that they are handed; each reader gets messages of its own.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.errors import Overloaded
from gemini_backend.policies.sharing.reader import Reader
from gemini_backend.sizes import KIB

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gemini_backend.call import Call
    from gemini_backend.clock import Clock

# How far, in bytes, a run may be ahead of its fastest reader before it waits for it.
AHEAD_BYTES = 256 * KIB
# What an event costs beside its bytes.
EVENT_OVERHEAD_BYTES = 48
# Growth is told in steps of at least so many bytes; what is left at the end.
GROWTH_STEP_BYTES = 4 * KIB


class ReplayBuffer:
    """Events from the first one on, and their end.

    `max_bytes` bounds what is kept. At it the oldest events are let go, first those that every
    reader has read, and then nobody can join at the beginning any more (`on_cut` is called once).
    A reader that had not read them yet fails. With `paced`, whoever appends waits for `room`, so
    that the fastest reader is never far behind, and never failed.

    Attributes:
        bytes: What is kept, with `EVENT_OVERHEAD_BYTES` for each event.
        told: Bytes that `on_growth` has been told of so far.
        length: How many events there have been.
        total: Bytes of all events there have been.
        furthest: Bytes that the fastest reader has read.
        readers: In the order in which they came.
        first: The place of the first event that is kept, counted from 0.
    """

    __slots__ = (
        "_elsewhere",
        "_held",
        "_kept",
        "_kind",
        "_limit",
        "_max_bytes",
        "_newest",
        "_on_growth",
        "_paced",
        "_producer",
        "_taker",
        "bytes",
        "ended",
        "error",
        "first",
        "furthest",
        "length",
        "on_cut",
        "readers",
        "told",
        "total",
    )

    def __init__(
        self,
        max_bytes: int,
        *,
        kind: Any = pb.ExecuteResponse,
        paced: bool = False,
        on_cut: Callable[[], None] | None = None,
        on_growth: Callable[[int], None] | None = None,
    ) -> None:
        """Begin with nothing; `on_growth` is told of bytes that are kept or freed."""
        self.bytes = 0
        self.told = 0
        self.ended = False
        self.error: BaseException | None = None
        self.length = 0
        self.total = 0
        self.furthest = 0
        self.readers: dict[Reader, None] = {}
        self.first = 0
        self.on_cut = on_cut
        self._max_bytes = max_bytes
        self._paced = paced
        self._on_growth = on_growth
        self._kept: list[bytes] = []
        self._kind = kind
        self._newest: Any = None  # the last event as it was made, for whoever asks first
        self._held: Any = None  # the last event, of which there are no bytes yet
        self._taker: Reader | None = None  # who was given it
        self._elsewhere = 0  # bytes that are counted by somebody who keeps them as well
        self._producer: asyncio.Future[None] | None = None
        self._limit = min(max_bytes, GROWTH_STEP_BYTES - 1)  # see `_set_limit`

    def append(self, event: Any, *, hand_over: bool = False) -> bytes:
        """Keep an event, and return its bytes.

        With `hand_over` the first reader to ask may have the message itself.
        """
        data: bytes = event.SerializeToString()
        self._newest = event if hand_over else None
        self.keep(data)
        return data

    def keep(self, data: bytes) -> None:
        """Keep an event of which these are the bytes."""
        if self._held is not None:
            self.settle()
        self.length += 1
        self._add(data)
        if self.readers:
            self._wake()

    def keep_all(self, events: Sequence[bytes]) -> None:
        """Keep many events; for a tape without readers."""
        self._kept.extend(events)
        size = sum(map(len, events))
        self.length += len(events)
        self.total += size
        self.bytes += size + EVENT_OVERHEAD_BYTES * len(events)
        if self.bytes > self._max_bytes:
            self._make_room()
        self.tell_growth()

    def hold(self, event: Any, newest: Any) -> None:
        """Keep an event whose bytes somebody makes soon, and tells (`made`).

        The first reader is handed `newest`: the message itself, or None where it is given to
        somebody already.
        The bytes are made here when another reader asks for them, or the next event comes.
        """
        if self._held is not None:
            self.settle()
        self._held = event
        self._newest = newest
        self.length += 1
        if self.readers:
            self._wake()

    def made(self, event: Any, data: bytes) -> None:
        """Take the bytes of an event, which whoever tells them keeps and counts as well."""
        if event is self._held:
            reader, self._taker, self._held = self._taker, None, None
            self._elsewhere += len(data) + EVENT_OVERHEAD_BYTES
            self._add(data)
            if reader is not None:
                self._count(reader, len(data))

    def settle(self) -> None:
        """Make the bytes of an event that is held, if there is one."""
        if self._held is not None:
            reader, data = self._taker, self._held.SerializeToString()
            self._taker = self._held = None
            self._add(data)
            if reader is not None:
                self._count(reader, len(data))

    def counts_all(self) -> None:
        """From now on nobody else counts what was told by `made`; nobody can join any more."""
        self._elsewhere = 0
        if not self.readers:
            self._cut()
        self.tell_growth()

    @property
    def crowded(self) -> bool:
        """Whether whoever appends is too far ahead of its fastest reader, and has to wait."""
        return self.total - self.furthest > AHEAD_BYTES and bool(self.readers)

    def shrink(self, max_bytes: int) -> None:
        """Keep less from now on."""
        self.settle()
        self._max_bytes = min(self._max_bytes, max_bytes)
        if self.bytes > self._max_bytes:
            self._make_room()
        self.tell_growth()

    def trim(self, most: int) -> None:
        """Let the oldest events go that every reader has read, down to so many bytes."""
        self._cut()
        last = min((reader.place for reader in self.readers), default=self.length - 1)
        place, over = self.first, self.bytes - most
        for data in self._kept:
            if over <= 0 or place >= last:
                break
            over -= len(data) + EVENT_OVERHEAD_BYTES
            place += 1
        self._drop_to(place)
        self.tell_growth()

    def forget(self) -> None:
        """Keep nothing of what there has been."""
        self._held = self._newest = None
        self._kept.clear()
        self.bytes = 0
        self.first = self.length
        self.tell_growth()

    def detach(self) -> None:
        """Tell nobody of its size any more."""
        self._on_growth = None
        self._cut()

    def end(self, error: BaseException | None = None) -> None:
        """Say that nothing more comes, and why, if it is a failure."""
        self.ended, self.error = True, error
        if self.readers:
            self._wake()
        self.tell_growth()

    def join(self, call: Call, clock: Clock, after: int = 0, *, raw: bool = False) -> Reader:
        """Return a reader of what follows the first `after` events, for as long as `call` may.

        It is given messages, or bytes with `raw`.
        """
        self.settle()
        reader = Reader(self, call, clock, after, raw=raw)
        self.readers[reader] = None
        self.has_read(reader.done)
        return reader

    def leave(self, reader: Reader) -> None:
        """Forget a reader."""
        self.readers.pop(reader, None)
        self.furthest = max((one.done for one in self.readers), default=self.total)
        self._let_go_on()

    def read_by(self, reader: Reader) -> Any:
        """Return the event at a reader's place, and count it as read.

        Raises:
            Overloaded: it has been let go.
        """
        place = reader.place
        if place < self.first:
            raise _too_slow(self._max_bytes)
        reader.place = place + 1
        if place == self.length - 1:
            event, self._newest = self._newest, None
            if event is not None and not reader.raw:
                if self._held is not None:
                    self._taker = reader
                else:
                    self._count(reader, len(self._kept[-1]))
                return event
            self.settle()
        data = self._kept[place - self.first]
        self._count(reader, len(data))
        return data if reader.raw else self._kind.FromString(data)

    def size_from(self, place: int) -> int:
        """Return the bytes of the events from a place on, all of which are kept."""
        return sum(map(len, self._kept[place - self.first :]))

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

    def tell_growth(self) -> None:
        """Tell by how much more, or less, is kept than was told before."""
        own = self.bytes - self._elsewhere
        change = -self.told if own < 0 else own - self.told
        if change and self._on_growth is not None:
            self.told += change
            self._on_growth(change)
        self._set_limit()

    def _add(self, data: bytes) -> None:
        size = len(data)
        self._kept.append(data)
        self.total += size
        self.bytes += size + EVENT_OVERHEAD_BYTES
        if self.bytes > self._limit:
            self._reached()

    def _reached(self) -> None:
        """Let events go, or tell of growth, as it is time for."""
        if self.bytes > self._max_bytes:
            self._make_room()
        grown = self.bytes - self._elsewhere - self.told
        if grown >= GROWTH_STEP_BYTES or grown <= -GROWTH_STEP_BYTES:
            self.tell_growth()
        self._set_limit()

    def _set_limit(self) -> None:
        """Set how many bytes may be kept before there is anything to do: one look at each event."""
        step = self.told + self._elsewhere + GROWTH_STEP_BYTES - 1
        self._limit = step
        if step > self._max_bytes:  # a call of `min` takes several times as long
            self._limit = self._max_bytes

    def _wake(self) -> None:
        for reader in self.readers:
            reader.wake()

    def _count(self, reader: Reader, size: int) -> None:
        reader.done += size
        self.has_read(reader.done)

    def _let_go_on(self) -> None:
        producer = self._producer
        if producer is not None and not producer.done() and not self.crowded:
            producer.set_result(None)

    def _cut(self) -> None:
        on_cut, self.on_cut = self.on_cut, None
        if on_cut is not None:
            on_cut()

    def _make_room(self) -> None:
        self._cut()
        places = [reader.place for reader in self.readers]
        if places:
            self._drop_to(min(places))
        spared = max(places) if self._paced and places else self.length - 1
        while self.bytes > self._max_bytes and self.first < spared:
            self._drop_to(self.first + 1)

    def _drop_to(self, place: int) -> None:
        count = max(0, min(place - self.first, len(self._kept)))
        self.bytes -= sum(map(len, self._kept[:count])) + EVENT_OVERHEAD_BYTES * count
        del self._kept[:count]
        self.first = max(self.first, place)


def _too_slow(max_bytes: int) -> Overloaded:
    return Overloaded(
        f"this reader fell more than {max_bytes} bytes behind the others of a shared or kept "
        "answer; read faster, or use cache_control BYPASS for a separate answer"
    )
