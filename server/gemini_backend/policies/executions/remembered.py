"""Endeds of executions that have ended: bounded in number, bytes and age, fair between owners."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from gemini_backend.sizes import MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gemini_backend.clock import Alarm, Clock
    from gemini_backend.config.sections.execution import ExecutionOptions
    from gemini_backend.policies.executions.ended import Ended
    from gemini_backend.principal import Owner


class Remembered:
    """Endeds by owner and name.

    At a bound whoever adds one loses one, if more than an equal share is theirs, and otherwise
    whoever has the most: first the refused ones, of which a single caller can make any number at no
    cost, then those that ended first. So nobody pushes out what belongs to somebody with less.
    """

    def __init__(self, options: Callable[[], ExecutionOptions], clock: Clock) -> None:
        """Read bounds off `options`, anew each time; times off `clock`."""
        self._options = options
        self._clock = clock
        self._owners: dict[Owner, _Owned] = {}
        self._alarm: Alarm | None = None
        self._count = 0
        self.bytes = 0

    def __len__(self) -> int:
        """Return how many are remembered."""
        return self._count

    def add(self, owner: Owner, outcome: Ended) -> None:
        """Remember an outcome; nothing where the bounds leave no room for any."""
        options = self._options()
        most, most_bytes, size = (
            options.max_remembered,
            options.max_remembered_mb * MIB,
            outcome.bytes,
        )
        if most and size <= most_bytes:
            owned = self._owners.get(owner)
            if owned is None:
                owned = self._owners[owner] = _Owned()
            table = owned.refused if outcome.refused else owned.ended
            table[outcome.facts.name] = outcome
            self._count += 1
            self.bytes += size
            if self._alarm is None:
                self._alarm = self._clock.alarm(options.remember_seconds, self._sweep)
        while self._count > most or self.bytes > most_bytes:
            self._forget_one(owner)

    def find(self, owner: Owner, name: str) -> Ended | None:
        """Return an owner's outcome; None where there is none, or it is too old."""
        owned = self._owners.get(owner)
        found = None if owned is None else owned.ended.get(name) or owned.refused.get(name)
        return found if found is not None and self._is_fresh(found) else None

    def of(self, owner: Owner) -> list[Ended]:
        """Return an owner's outcomes, in no order."""
        owned = self._owners.get(owner)
        return [] if owned is None else list(filter(self._is_fresh, owned))

    def clear(self) -> None:
        """Forget everything."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self._owners.clear()
        self._count = self.bytes = 0

    def _is_fresh(self, outcome: Ended) -> bool:
        return self._clock.now() - outcome.ended < self._options().remember_seconds

    def _forget_one(self, newest: Owner) -> None:
        """Forget one of whoever has the most; as a rule that is who has just added one."""
        owner = newest
        if len(self._owners) > 1:
            owned = self._owners.get(newest, ())
            if len(owned) * len(self._owners) <= self._count:  # no more than its share
                owner = max(self._owners, key=lambda one: len(self._owners[one]))
        self._forget(owner, self._owners[owner].pop())

    def _forget(self, owner: Owner, outcome: Ended) -> None:
        self._count -= 1
        self.bytes -= outcome.bytes
        if not self._owners[owner]:
            del self._owners[owner]

    def _sweep(self) -> None:
        """Forget what is too old; come back when the next one will be."""
        now, keep = self._clock.now(), self._options().remember_seconds
        self._alarm, soonest = None, None
        for owner, owned in tuple(self._owners.items()):
            for table in (owned.refused, owned.ended):
                while table:
                    first = next(iter(table.values()))
                    left = first.ended + keep - now
                    if left > 0:
                        soonest = left if soonest is None else min(soonest, left)
                        break
                    del table[first.name]
                    self._forget(owner, first)
        if soonest is not None:
            self._alarm = self._clock.alarm(soonest, self._sweep)


class _Owned:
    """One owner's outcomes, each table in the order of their ends."""

    __slots__ = ("ended", "refused")

    def __init__(self) -> None:
        self.refused: OrderedDict[str, Ended] = OrderedDict()
        self.ended: OrderedDict[str, Ended] = OrderedDict()

    def __len__(self) -> int:
        return len(self.refused) + len(self.ended)

    def __iter__(self) -> Iterator[Ended]:
        yield from self.refused.values()
        yield from self.ended.values()

    def pop(self) -> Ended:
        return (self.refused or self.ended).popitem(last=False)[1]
