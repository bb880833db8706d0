"""Who waits for a slot: by priority, in turn among tenants, first come first served within one."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio


class Waiter:
    """One that waits; `ready` is set when its turn has come or it has been put out."""

    __slots__ = ("priority", "ready", "since", "tenant")

    def __init__(
        self, priority: int, tenant: str, since: float, ready: asyncio.Future[bool]
    ) -> None:
        """Wait since then, in this tenant's line of this priority; 0 comes first."""
        self.priority = priority
        self.tenant = tenant
        self.since = since
        self.ready = ready


_Line = OrderedDict[Waiter, None]


class WaitingQueue:
    """Waiters of one priority. Every operation takes the same time, however many wait."""

    __slots__ = ("_by_length", "_longest", "_tenants", "count")

    def __init__(self) -> None:
        """Begin empty."""
        self._tenants: OrderedDict[str, _Line] = OrderedDict()
        self._by_length: dict[int, OrderedDict[str, None]] = {}
        self._longest = 0
        self.count = 0

    def add(self, waiter: Waiter) -> None:
        """Put a waiter at the end of its tenant's line; a new tenant comes last."""
        line = self._tenants.setdefault(waiter.tenant, OrderedDict())
        line[waiter] = None
        self._resized(waiter.tenant, len(line) - 1, len(line))

    def remove(self, waiter: Waiter) -> bool:
        """Take a waiter out, wherever it stands; say whether it was there."""
        line = self._tenants.get(waiter.tenant)
        if line is None or waiter not in line:
            return False
        del line[waiter]
        self._resized(waiter.tenant, len(line) + 1, len(line))
        if not line:
            del self._tenants[waiter.tenant]
        return True

    def first(self) -> Waiter:
        """Take out the first waiter of the tenant whose turn it is; then it is the next one's."""
        tenant, line = next(iter(self._tenants.items()))
        waiter, _ = line.popitem(last=False)
        self._resized(tenant, len(line) + 1, len(line))
        if line:
            self._tenants.move_to_end(tenant)
        else:
            del self._tenants[tenant]
        return waiter

    def most(self) -> int:
        """Return how many wait of the tenant that has the most; 0 where none waits."""
        return self._longest

    def of(self, tenant: str) -> int:
        """Return how many of a tenant's wait."""
        return len(self._tenants.get(tenant, ()))

    def newest_of_most(self) -> Waiter:
        """Take out the newest waiter of a tenant that has the most; there must be one."""
        tenant = next(reversed(self._by_length[self._longest]))
        waiter = next(reversed(self._tenants[tenant]))
        self.remove(waiter)
        return waiter

    def ahead_of(self, tenant: str) -> int:
        """Return how many at most are served before a newcomer of this tenant."""
        own = self.of(tenant)
        return min(self.count, own + (own + 1) * len(self._tenants))

    def oldest_since(self) -> float | None:
        """Return since when the one whose turn it is has waited; None where none waits."""
        for line in self._tenants.values():
            return next(iter(line)).since
        return None

    def _resized(self, tenant: str, before: int, after: int) -> None:
        """Keep the tenants by the length of their lines; lines change by one at a time."""
        self.count += after - before
        if before:
            peers = self._by_length[before]
            del peers[tenant]
            if not peers:
                del self._by_length[before]
        if after:
            self._by_length.setdefault(after, OrderedDict())[tenant] = None
        self._longest = max(self._longest, after)
        if self._longest not in self._by_length:
            self._longest = after


class PriorityQueue:
    """Waiters of all priorities; a lower one is served only when no higher one waits."""

    __slots__ = ("_lines", "count")

    def __init__(self, priorities: int) -> None:
        """Have so many priorities, 0 the first."""
        self._lines = [WaitingQueue() for _ in range(priorities)]
        self.count = 0

    def add(self, waiter: Waiter) -> None:
        """Put a waiter in."""
        self._lines[waiter.priority].add(waiter)
        self.count += 1

    def remove(self, waiter: Waiter) -> bool:
        """Take a waiter out; say whether it was in."""
        was_there = self._lines[waiter.priority].remove(waiter)
        self.count -= was_there
        return was_there

    def first(self) -> Waiter | None:
        """Take out the one whose turn it is; None where none waits."""
        for line in self._lines:
            if line.count:
                self.count -= 1
                return line.first()
        return None

    def make_room(self, priority: int, tenant: str) -> Waiter | None:
        """Take out whoever is to give way to a newcomer; None where nobody is.

        That is somebody of a lower priority, of the lowest there is; else, within the newcomer's
        own, somebody of a tenant that will still have as many waiting as the newcomer's. It is
        the newest of the tenant that has the most.
        """
        for line in reversed(self._lines[priority + 1 :]):
            if line.count:
                self.count -= 1
                return line.newest_of_most()
        own = self._lines[priority]
        if own.most() > own.of(tenant) + 1:
            self.count -= 1
            return own.newest_of_most()
        return None

    def ahead_of(self, priority: int, tenant: str) -> int:
        """Return how many at most are served before a newcomer, if no more important ones come."""
        higher = sum(line.count for line in self._lines[:priority])
        return higher + self._lines[priority].ahead_of(tenant)

    def depths(self) -> tuple[int, ...]:
        """Return how many wait at each priority."""
        return tuple(line.count for line in self._lines)

    def oldest_since(self) -> float | None:
        """Return since when the one whose turn it is has waited; None where none waits."""
        return next((line.oldest_since() for line in self._lines if line.count), None)
