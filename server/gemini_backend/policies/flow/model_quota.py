"""The quota of one project for one model: requests and tokens a minute, requests a day."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gemini_backend.errors import DailyQuotaExhausted, OutOfQuota, ServiceError
from gemini_backend.policies.flow.closure import Closure
from gemini_backend.policies.flow.learned_limits import LearnedLimits, Limits, named_in
from gemini_backend.policies.flow.pace import Pace
from gemini_backend.policies.flow.sliding_window import SlidingCounts
from gemini_backend.policies.flow.token_bucket import TokenBucket
from gemini_backend.telemetry.component_status import QuotaKind, QuotaStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

MINUTE = 60.0
# How long to wait where upstream throttles and does not say; but one such refusal among many
# answers concerns nobody else, so only once a third of the latest requests has been refused so.
UNSAID_SECONDS = 1.0
LATEST_SECONDS = 2.0
_UNSAID_SHARE = 1 / 3
# From here on a delay is no minute's, and is tried in between.
_LONG_SECONDS = 3600.0
# Bound once: to look a member up in its enumeration costs more than what is done with it.
_TOKENS = QuotaKind.TOKENS_PER_MINUTE
_MINUTES = (QuotaKind.REQUESTS_PER_MINUTE, _TOKENS)


class ModelQuota:
    """What is configured, corrected by what upstream says when it refuses.

    Calls that waited for the end of a throttle go out one after the other (`Pace`). What upstream
    has named or closed is tried again from time to time (`LearnedLimits`, `Closure`).
    """

    def __init__(self, until_reset: Callable[[], float]) -> None:
        """Know nothing yet; `until_reset` gives the seconds until a new day of quota begins."""
        self._until_reset = until_reset
        self._minute: dict[QuotaKind, TokenBucket] = {}
        self._learned = LearnedLimits()
        self._configured: Limits = {}
        self._taken: Mapping[QuotaKind, int] | None = None  # that `_minute` was made for
        self._probe_seconds = MINUTE
        self._day_limit = 0
        self._day_used = 0
        self._day_ends = -math.inf
        self._revision: object = None
        self._free = False  # whether nothing holds a call back, nor counts what it takes
        self._blocked_until = -math.inf
        self._closure = Closure()
        self._pace = Pace()
        self._latest = SlidingCounts(LATEST_SECONDS)  # requests, and refusals without a word
        self._period = _Period()
        self._reason = ""
        self.waiting = 0

    def configure(
        self,
        limits: Mapping[QuotaKind, int],
        probe_seconds: float,
        now: float,
        *,
        revision: object = None,
    ) -> None:
        """Take over what is configured; what upstream has said since then counts for more.

        `limits` stays as it is: another object says that something has changed. `revision` is what
        `passes` is asked with as long as it need not be called again.
        """
        self._probe_seconds, self._revision = probe_seconds, revision
        if limits is self._taken and not self._learned:
            return
        self._taken, self._free = limits, False
        if limits != self._configured:
            for kind, limit in limits.items():
                if self._configured.get(kind, limit) != limit:
                    self._learned.forget(kind)
            self._configured = dict(limits)
        self._learned.raise_due(limits, now)
        for kind in _MINUTES:
            limit = self._learned.get(kind) or limits[kind]
            bucket = self._minute.get(kind)
            if not limit:
                self._minute.pop(kind, None)
            elif bucket is None:
                self._minute[kind] = TokenBucket(limit, MINUTE, now)
            elif bucket.capacity != limit:
                bucket.resize(limit, now)
        day = QuotaKind.REQUESTS_PER_DAY
        self._day_limit = self._learned.get(day) or limits[day]

    @property
    def counts_tokens(self) -> bool:
        """Whether there is a quota of tokens."""
        return bool(self._minute) and _TOKENS in self._minute

    def take_probe(self, now: float) -> bool:
        """Say whether a call is let through although the quota is closed, to try it."""
        return self._closure.take_probe(now)

    def passes(self, revision: object, now: float) -> bool:
        """Count a request that goes out now, if nothing holds it back, or has of late; say so.

        Else it is to be reserved. Nothing is configured or learnt then, closed, blocked or paced.
        """
        if not self._free or revision is not self._revision:
            return False
        self._count(now)
        self._period.sent(now, self._blocked_until)
        return True

    def _count(self, now: float) -> None:
        """Count a request of the day, and of late."""
        if now >= self._day_ends:
            self._day_used, self._day_ends = 0, now + self._until_reset()
        self._day_used += 1
        self._latest.hit(now)

    def reserve(self, tokens: float, now: float, *, probe: bool = False) -> float:
        """Take one request of so many tokens; return the seconds to wait before it is sent."""
        self._count(now)
        full = bool(self._day_limit) and self._day_used > self._day_limit and not probe
        if full and QuotaKind.REQUESTS_PER_DAY in self._learned:
            self._closure.close(self._day_ends, self._probe_seconds, now)
        minute = 0.0
        if self._minute:
            minute = max(b.reserve(_amount(kind, tokens), now) for kind, b in self._minute.items())
        if minute > 0:
            self._learned.press()
        day = self._day_ends - now if full else 0.0
        blocked = self.blocked(now)
        self._free = not (self._minute or self._day_limit or self._learned or blocked or probe)
        return max(minute, day, 0.0 if probe else blocked)

    def blocked(self, now: float) -> float:
        """Return for how many seconds upstream wants to be left alone."""
        return max(0.0, self._blocked_until - now, self._closure.seconds(now))

    def slot(self, now: float) -> float:
        """Return the seconds until a call may go out that waited as others did; it is its turn."""
        wait = self._pace.take(now)
        self._free = self._free and not self._pace.is_on
        return wait

    def give_slot_back(self) -> None:
        """Give back the turn that was taken last."""
        self._pace.give_back()

    def line(self, now: float) -> float:
        """Return how long a call waits that comes now, behind those who wait for the same moment.

        0 while nothing is blocked: then each has its turn already.
        """
        blocked = self.blocked(now)
        if not blocked:
            return 0.0
        return blocked + self._pace.ahead(max(now, self._blocked_until), self.waiting)

    def why(self, now: float) -> str:
        """Say why calls wait, in words."""
        if self.blocked(now) or self._pace.ahead(now):
            return "upstream throttles the project"
        return "the quota of the project for this model is used up"

    def wait(self, now: float) -> float:
        """Return how many seconds one more request would wait, without taking it."""
        full = self._day_limit and self._day_used >= self._day_limit and now < self._day_ends
        waits = [self._day_ends - now if full else 0.0, self.blocked(now)]
        waits += [bucket.wait(now) for bucket in self._minute.values()]
        return max(*waits, self._pace.ahead(now, self.waiting))

    def sent(self, now: float) -> None:
        """Count a request that goes out now."""
        self._period.sent(now, self._blocked_until)

    def refund(self, tokens: float, now: float) -> None:
        """Take back a request that never reached upstream."""
        self._day_used = max(0, self._day_used - 1)
        for kind, bucket in self._minute.items():
            bucket.refund(_amount(kind, tokens), now)

    def settle(self, reserved: float, real: float, now: float) -> None:
        """Put the tokens that were counted in the place of those that were reserved."""
        bucket = self._minute.get(_TOKENS)
        if bucket is not None:
            bucket.settle(reserved, real, now)

    def opened(self) -> None:
        """Note that a call was answered which was to try a closed quota."""
        self._closure.open()
        self._free = False
        self._blocked_until = -math.inf
        self._learned.forget(QuotaKind.REQUESTS_PER_DAY)
        self._day_limit = self._configured.get(QuotaKind.REQUESTS_PER_DAY, 0)

    def learn(self, error: ServiceError, tokens: float, now: float) -> None:
        """Take to heart what upstream says when it refuses a request of so many tokens."""
        if not isinstance(error, OutOfQuota) or not error.concerns_model:
            return
        named = named_in(error)
        if _is_beyond(named, tokens):
            return  # alone it exceeds the quota: the others need not wait for it
        self._reason, self._free = error.reason, False
        self._period.refused += 1
        after = error.retry_after
        if isinstance(error, DailyQuotaExhausted) or (after is not None and after >= _LONG_SECONDS):
            after = self._until_reset() if after is None else after
            self._closure.close(now + after, self._probe_seconds, now)
        else:
            after = self._unsaid(now) if after is None else after
            self._blocked_until = max(self._blocked_until, now + after)
        self._learned.name(named, self._probe_seconds, now)
        self._learned.refused(now)
        for kind in named.keys() & set(_MINUTES):
            value = named[kind]
            bucket = self._minute.setdefault(kind, TokenBucket(value, MINUTE, now))
            bucket.resize(value, now)
            bucket.drain(now)
            # when the time that upstream named has passed, a request fits: it says so itself
            bucket.refund(max(0.0, 1 - after * value / MINUTE), now)
        if after > 0:
            self._line_up()

    def _line_up(self) -> None:
        """Let those who wait for the end of the throttle go out one after the other."""
        requests = self._minute.get(QuotaKind.REQUESTS_PER_MINUTE)
        if requests is not None:
            self._pace.begin_known(self._blocked_until, requests.capacity / MINUTE)
        else:
            accepted, seconds = self._period.until(self._blocked_until)
            self._pace.begin_unknown(self._blocked_until, accepted, seconds)

    def _unsaid(self, now: float) -> float:
        """Return how long to leave upstream alone after a refusal that does not say."""
        latest = self._latest
        latest.miss(now)
        return UNSAID_SECONDS if latest.misses >= _UNSAID_SHARE * latest.hits else 0.0

    def status(self, project: str, model: str, now: float) -> Iterator[QuotaStatus]:
        """Tell every quota that is known, that upstream wants to be left alone, and who waits."""
        blocked = self._blocked_until if self._blocked_until > now else None
        closed = self._closure.until if self._closure.until > now else None
        for kind, bucket in self._minute.items():
            left = max(0, int(bucket.level(now)))
            yield self._status(project, model, kind, (int(bucket.capacity), left), blocked)
        if not self._minute and (blocked is not None or self.waiting):
            kind = QuotaKind.REQUESTS_PER_MINUTE
            yield self._status(project, model, kind, (0, 0), blocked)
        day = QuotaKind.REQUESTS_PER_DAY
        if self._day_limit or closed is not None:
            left = 0 if closed else max(0, self._day_limit - self._day_used)
            yield self._status(project, model, day, (self._day_limit, left), closed)

    def _status(
        self,
        project: str,
        model: str,
        kind: QuotaKind,
        units: tuple[int, int],
        until: float | None,
    ) -> QuotaStatus:
        capacity, available = units
        day = kind is QuotaKind.REQUESTS_PER_DAY
        return QuotaStatus(
            model,
            kind,
            capacity,
            available,
            kind in self._learned or not (capacity or day),
            until,
            project,
            waiting=self.waiting,
            reason="" if until is None else self._reason,
            probe_at=self._closure.probe_at if day and until is not None else None,
        )


class _Period:
    """How many requests went out since the end of the last throttle, for a minute at most."""

    __slots__ = ("_begun", "_sent", "refused")

    def __init__(self) -> None:
        self._begun = -math.inf
        self._sent = self.refused = 0

    def sent(self, now: float, blocked_until: float) -> None:
        """Count a request that goes out now."""
        if now - self._begun >= MINUTE or self._begun < blocked_until <= now:
            self._begun, self._sent, self.refused = now, 0, 0
        self._sent += 1

    def until(self, end: float) -> tuple[int, float]:
        """Return how many were accepted, and the seconds of the period if it lasts until `end`."""
        return max(0, self._sent - self.refused), end - self._begun


def _amount(kind: QuotaKind, tokens: float) -> float:
    return tokens if kind is _TOKENS else 1.0


def _is_beyond(named: Limits, tokens: float) -> bool:
    """Say whether a request exceeds by itself the only quota that it was refused for."""
    return named.keys() == {_TOKENS} and (tokens > named[_TOKENS])
