"""Answers kept in this process: bounded in number and bytes, each for its own time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cachetools import TLRUCache

from gemini_backend.stores.answer_store import StoredAnswer

if TYPE_CHECKING:
    from collections.abc import Callable

# What one entry costs beside its bytes: key, tuples, times and cachetools' own records; and what
# each event costs beside its bytes. Measured as resident memory over 100,000 entries.
ENTRY_OVERHEAD_BYTES = 690
EVENT_OVERHEAD_BYTES = 56


def size_of(answer: StoredAnswer) -> int:
    """Return the resident bytes that an answer takes, everything included."""
    events = answer.events
    return ENTRY_OVERHEAD_BYTES + EVENT_OVERHEAD_BYTES * len(events) + sum(map(len, events))


class MemoryAnswers:
    """An `AnswerStore`: the least recently used answer goes first when there is no room.

    What it does is counted in plain integers that only grow: `stores`, `refusals` of answers too
    large to be kept at all, `evictions` for want of room and `expirations`. They are no events:
    many answers may go at once, within the call of somebody whom they do not concern.
    """

    def __init__(self, max_entries: int, max_bytes: int, now: Callable[[], float]) -> None:
        """Keep at most so many answers of at most so many bytes together.

        At either bound the least recently used answers go, counted as evictions; what is past
        `kept_until` goes first, counted as expirations. An answer larger than all the room there
        is, is refused.
        """
        self.max_entries = max_entries
        self.max_bytes = max_bytes
        self._now = now
        self.stores = 0
        self.refusals = 0
        self._kept = _Kept(max_bytes, now)

    def at_hand(self, key: bytes) -> StoredAnswer | None:
        """Return the answer under a key, fresh or past its time; None where there is none."""
        try:  # `get` of cachetools would look twice
            return self._kept[key]
        except KeyError:
            return None

    async def get(self, key: bytes) -> StoredAnswer | None:
        """Return the same: here nothing needs a wait."""
        return self.at_hand(key)

    async def put(self, key: bytes, answer: StoredAnswer) -> bool:
        """Keep an answer; tell whether there was room for it."""
        kept = self._kept
        if size_of(answer) > self.max_bytes:
            self.refusals += 1
            return False
        if answer.kept_until <= self._now():
            return False
        while len(kept) >= self.max_entries and key not in kept:
            kept.popitem()
        kept[key] = answer
        self.stores += 1
        return True

    @property
    def evictions(self) -> int:
        """How many answers went for want of room."""
        return self._kept.evictions

    @property
    def expirations(self) -> int:
        """How many answers went because their time was up."""
        return self._kept.expirations

    @property
    def entries(self) -> int:
        """How many answers are kept."""
        return len(self._kept)

    @property
    def bytes(self) -> int:
        """How many bytes they take."""
        return int(self._kept.currsize)

    @property
    def oldest_age(self) -> float | None:
        """Seconds since the oldest answer was stored; None without any."""
        oldest = self._kept.oldest()
        return None if oldest is None else max(0.0, self._now() - oldest)

    def __repr__(self) -> str:
        """Name the store and its bounds."""
        return f"MemoryAnswers({self.max_entries} entries, {self.max_bytes} bytes)"


class _Kept(TLRUCache[bytes, StoredAnswer]):
    """Counts what goes, and knows when the oldest of what is left came."""

    def __init__(self, max_bytes: int, now: Callable[[], float]) -> None:
        super().__init__(max_bytes, _kept_until, timer=now, getsizeof=size_of)
        self.expirations = self.evictions = 0
        self._since: dict[bytes, float] = {}  # in the order in which answers came

    def __setitem__(self, key: bytes, answer: StoredAnswer) -> None:
        super().__setitem__(key, answer)
        self._since.pop(key, None)
        self._since[key] = answer.stored

    def expire(self, time: float | None = None) -> list[tuple[bytes, StoredAnswer]]:
        gone = list(super().expire(time) or ())
        for key, _ in gone:
            self._since.pop(key, None)
        self.expirations += len(gone)
        return gone

    def popitem(self) -> tuple[bytes, StoredAnswer]:
        key, answer = super().popitem()
        self._since.pop(key, None)
        self.evictions += 1
        return key, answer

    def oldest(self) -> float | None:
        self.expire()
        return next(iter(self._since.values()), None)


def _kept_until(_key: bytes, answer: StoredAnswer, _now: float) -> float:
    return answer.kept_until
