"""A token bucket, exact: what is reserved is gone at once, and the debt says how long to wait."""

from __future__ import annotations


class TokenBucket:
    """Holds up to `capacity`, and fills up within `seconds`, evenly; amounts may be fractions.

    The level may fall below 0: then so much has been promised to those who wait already. Whoever
    reserves stands in line behind them, so a wait is known at once and never grows.
    """

    __slots__ = ("_capacity", "_level", "_seconds", "_stamp")

    def __init__(self, capacity: float, seconds: float, now: float) -> None:
        """Begin full: within the first `seconds` up to twice the capacity can be taken.

        Whoever has used some of it elsewhere, such as the process before a restart, is not known.
        """
        self._capacity = capacity
        self._level = capacity
        self._seconds = seconds
        self._stamp = now

    @property
    def capacity(self) -> float:
        """How much fits in."""
        return self._capacity

    def level(self, now: float) -> float:
        """Return what is left; below 0 what is promised beyond it."""
        if now > self._stamp:
            filled = (now - self._stamp) * self._capacity / self._seconds
            self._level = min(self._capacity, self._level + filled)
            self._stamp = now
        return self._level

    def reserve(self, amount: float, now: float) -> float:
        """Take an amount; return the seconds after which it is covered, 0 where it is at once."""
        self._level = self.level(now) - amount
        return max(0.0, -self._level) * self._seconds / self._capacity

    def take(self, amount: float, now: float) -> float:
        """Take an amount if it is there, and return 0; else the seconds until it would be.

        More than fits in counts as all that fits in.
        """
        amount = min(amount, self._capacity)
        missing = amount - self.level(now)
        if missing > 0:
            return missing * self._seconds / self._capacity
        self._level -= amount
        return 0.0

    def wait(self, now: float) -> float:
        """Return the seconds until one more would be covered, without taking it."""
        return max(0.0, 1.0 - self.level(now)) * self._seconds / self._capacity

    def refund(self, amount: float, now: float) -> None:
        """Put an amount back; what does not fit in is lost."""
        self._level = min(self._capacity, self.level(now) + amount)

    def settle(self, reserved: float, real: float, now: float) -> None:
        """Put the real amount in the place of the one that was reserved."""
        self.refund(reserved - real, now)

    def resize(self, capacity: float, now: float) -> None:
        """Change the capacity. What is spent stays spent where it grows.

        Where it shrinks the level shrinks with it: what was spent at the old rate would take for
        ever to earn again at the new one, and a wait that has been told must not grow.
        """
        level = self.level(now)
        if capacity < self._capacity:
            self._level = level * capacity / self._capacity
        else:
            self._level = level + capacity - self._capacity
        self._capacity = capacity

    def drain(self, now: float) -> None:
        """Leave nothing in it."""
        self._level = min(0.0, self.level(now))
