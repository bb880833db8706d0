"""One circuit: closed, open, half-open. It knows no calls and no errors, only outcomes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_backend.policies.attempts.doubtful_failures import DoubtfulFailures
from gemini_backend.policies.flow import SlidingCounts
from gemini_backend.telemetry.component_status import CircuitState

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini_backend.config.sections.resilience import BreakerOptions

_NEXT_PROBE_SECONDS = 0.5
# A break lasts so long a part of the outage before it: what was down for seconds is tried again
# within a second, what is down for minutes is left alone.
_BREAK_OF_OUTAGE = 0.25
# Bound once: to look a member up in its enumeration costs more than what is done with it.
_CLOSED, _HALF_OPEN, _OPEN = CircuitState.CLOSED, CircuitState.HALF_OPEN, CircuitState.OPEN


class Pass:
    """Leave to go through a circuit, which fills it in; to be settled by how it went.

    Attributes:
        round: The time between two changes of the circuit's state in which it was given.
        number: Its place in the round.
        probe: Whether the call tries a circuit that is not closed.
        settled: Whether it counts, or never will.
        window: In which it was counted as going well; `slot` is its place there.
    """

    __slots__ = ("number", "probe", "round", "settled", "slot", "window")

    round: int
    number: int
    probe: bool
    settled: bool
    slot: int
    window: SlidingCounts | None


class Circuit:
    """Opens when too many of the calls in its window have failed, or many in a row.

    Failures may be quick and answers slow; so those in a row count only where they are as many as
    `failure_ratio` of all calls that have begun since the first of them. While it is half open it
    lets one call through, and another for each that succeeds and for each second. It opens again
    when a probe fails before one has succeeded, or when as many fail as are asked for.

    A call counts only in the round in which it began: what began before a change of state says
    nothing of what is after it.
    """

    def __init__(
        self, options: BreakerOptions, now: float, changed: Callable[[Circuit], None] | None = None
    ) -> None:
        """Begin closed; `changed` is told after each change of the state."""
        self.state = _CLOSED
        self.since = now
        self.probe_at = 0.0
        self.rejected = 0
        self.opened = 0
        self.why = ""
        self._changed = changed
        self._opened_on = (0, 0)
        self._round = 0
        self._outage_since: float | None = None
        self._let_through = 0
        self._in_a_row = 0
        self._row_began = 0
        self._probing = 0
        self._proved = 0
        self._failed = 0
        self._window = SlidingCounts(options.window_seconds)
        self.doubts = DoubtfulFailures()

    def enter(self, given: Pass, options: BreakerOptions, now: float) -> bool:
        """Give leave to go through, and say so; False where there is none just now."""
        if self.state is not _CLOSED and not self._lets_probe(options, now):
            self.rejected += 1
            return False
        given.round, given.settled, given.window = self._round, False, None
        given.probe = probe = self.state is not _CLOSED
        if probe:
            self._probing += 1
            given.number = 0
        else:
            self._let_through = given.number = self._let_through + 1
        return True

    def _lets_probe(self, options: BreakerOptions, now: float) -> bool:
        """Say whether a call may go through that is not closed, or was not until now."""
        if self.state is _OPEN and now >= self.probe_at:
            self._become(_HALF_OPEN, now)
        if self.state is _HALF_OPEN and self._proved >= options.half_open_probes:
            self._become(_CLOSED, now)  # fewer are asked for than before
            return True
        return self.state is _HALF_OPEN and self._may_probe(options, now)

    def succeed(self, given: Pass, options: BreakerOptions, now: float) -> None:
        """Count a call that goes well; enough probes that do close the circuit."""
        if not self._settles(given):
            return
        self._in_a_row = 0
        if not given.probe:
            given.window = window = self._slid(options, now)
            given.slot = window.hit_now()
            return
        self._proved += 1
        if self._proved >= options.half_open_probes:
            self._become(_CLOSED, now)

    def fail(self, given: Pass, options: BreakerOptions, now: float, why: str = "") -> None:
        """Count a call that failed, in place of a success if it went well at first.

        `why` is kept for those who ask.
        """
        went_well = given.settled
        if not self._settles(given) and (given.round != self._round or not went_well):
            return
        self.why = why
        if given.probe:
            self._failed += 1
            if not self._proved or self._failed >= options.half_open_probes:
                self._open(options, now)
            return
        window = self._slid(options, now)
        if went_well and given.window is window:
            window.retract(given.slot)
        window.miss(now)
        self._row_began = min(self._row_began, given.number) if self._in_a_row else given.number
        self._in_a_row += 1
        if self._too_many(window, options):
            self._open(options, now)

    def forget(self, given: Pass) -> None:
        """Count nothing; a probe makes room for another one."""
        if not given.settled:
            self._settles(given)

    def retry_after(self, now: float) -> float:
        """Return the seconds after which it is worth coming back."""
        if self.state is _OPEN:
            return max(0.0, self.probe_at - now)
        return _NEXT_PROBE_SECONDS

    def outage(self, now: float) -> float:
        """Return for how many seconds it has not been closed; 0 where it is."""
        return 0.0 if self._outage_since is None else now - self._outage_since

    def seen(self, now: float) -> tuple[CircuitState, float]:
        """Return what it lets through, and since when: once its break is over, a few probes."""
        if self.state is _OPEN and now >= self.probe_at:
            return _HALF_OPEN, self.probe_at
        return self.state, self.since

    def counts(self, now: float) -> tuple[int, int]:
        """Return how many calls the window holds, and how many of them failed.

        Unless it is closed, those of the window in which it opened.
        """
        if self.state is not _CLOSED:
            return self._opened_on
        self._window.slide(now)
        return self._window.total, self._window.misses

    def _settles(self, given: Pass) -> bool:
        """Settle a call's leave; say whether it is of this round and was not settled before."""
        if given.settled or given.round != self._round:
            return False
        given.settled = True
        if given.probe:
            self._probing -= 1
        return True

    def _may_probe(self, options: BreakerOptions, now: float) -> bool:
        """Say whether one more probe may go out beside those that have."""
        at_once = 1 + self._proved + int(now - self.since)
        left = options.half_open_probes - self._proved
        return self._probing < min(at_once, left)

    def _too_many(self, window: SlidingCounts, options: BreakerOptions) -> bool:
        """Say whether a closed circuit has seen too many failures."""
        row, ratio = self._in_a_row, options.failure_ratio
        begun = self._let_through - self._row_began + 1
        if 0 < options.consecutive_failures <= row and row >= ratio * begun:
            return True
        return window.total >= options.minimum_calls and window.misses >= ratio * window.total

    def _slid(self, options: BreakerOptions, now: float) -> SlidingCounts:
        """Return the window; a new one where its length was changed meanwhile."""
        if self._window.seconds != options.window_seconds:
            self._window = SlidingCounts(options.window_seconds)
        self._window.slide(now)
        return self._window

    def _open(self, options: BreakerOptions, now: float) -> None:
        if self.state is _CLOSED:
            self._opened_on = (self._window.total, self._window.misses)
            self._outage_since = now
        self.opened += 1
        grown = min(self.outage(now) * _BREAK_OF_OUTAGE, options.max_break_seconds)
        self.probe_at = now + max(grown, options.break_seconds)
        self._become(_OPEN, now)

    def _become(self, state: CircuitState, now: float) -> None:
        self.state, self.since = state, now
        self._round += 1
        self._probing = self._proved = self._failed = self._let_through = self._in_a_row = 0
        if state is _CLOSED:
            self._window = SlidingCounts(self._window.seconds)
        if self._changed is not None:
            self._changed(self)
        if state is _CLOSED:
            self._outage_since = None
