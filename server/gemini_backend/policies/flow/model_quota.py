"""The quota of one project for one model: requests and tokens a minute, requests a day."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from gemini_backend.errors import DailyQuotaExhausted, ServiceError, Throttled
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
_NUMBER = re.compile(r"[0-9]{1,15}")


Limits = dict[QuotaKind, int]


class ModelQuota:
    """What is configured, corrected by what upstream says when it refuses."""

    def __init__(self, until_reset: Callable[[], float]) -> None:
        """Know nothing yet; `until_reset` gives the seconds until a new day of quota begins."""
        self._until_reset = until_reset
        self._minute: dict[QuotaKind, TokenBucket] = {}
        self._learned: Limits = {}
        self._configured: Limits = {}
        self._day_limit = 0
        self._day_used = 0
        self._day_ends = -math.inf
        self._blocked_until = -math.inf
        self._closed_until = -math.inf
        self._latest = SlidingCounts(LATEST_SECONDS)  # requests, and refusals without a word

    def configure(self, limits: Mapping[QuotaKind, int], now: float) -> None:
        """Take over what is configured; what upstream has said since then counts for more."""
        if limits != self._configured:
            for kind, limit in limits.items():
                if self._configured.get(kind, limit) != limit:
                    self._learned.pop(kind, None)
            self._configured = dict(limits)
        for kind in (QuotaKind.REQUESTS_PER_MINUTE, QuotaKind.TOKENS_PER_MINUTE):
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
        return QuotaKind.TOKENS_PER_MINUTE in self._minute

    def reserve(self, tokens: float, now: float) -> float:
        """Take one request of so many tokens; return the seconds to wait before it is sent."""
        if now >= self._day_ends:
            self._day_used, self._day_ends = 0, now + self._until_reset()
        self._day_used += 1
        self._latest.hit(now)
        full = self._day_limit and self._day_used > self._day_limit
        waits = [self._day_ends - now if full else 0.0, self.blocked(now)]
        waits += [
            bucket.reserve(_amount(kind, tokens), now) for kind, bucket in self._minute.items()
        ]
        return max(waits)

    def blocked(self, now: float) -> float:
        """Return for how many seconds upstream wants to be left alone."""
        return max(0.0, self._blocked_until - now, self._closed_until - now)

    def wait(self, now: float) -> float:
        """Return how many seconds one more request would wait, without taking it."""
        full = self._day_limit and self._day_used >= self._day_limit and now < self._day_ends
        waits = [self._day_ends - now if full else 0.0, self.blocked(now)]
        waits += [bucket.wait(now) for bucket in self._minute.values()]
        return max(waits)

    def refund(self, tokens: float, now: float) -> None:
        """Take back a request that never reached upstream."""
        self._day_used = max(0, self._day_used - 1)
        for kind, bucket in self._minute.items():
            bucket.refund(_amount(kind, tokens), now)

    def settle(self, reserved: float, real: float, now: float) -> None:
        """Put the tokens that were counted in the place of those that were reserved."""
        bucket = self._minute.get(QuotaKind.TOKENS_PER_MINUTE)
        if bucket is not None:
            bucket.settle(reserved, real, now)

    def learn(self, error: ServiceError, now: float) -> None:
        """Take to heart what upstream says when it refuses for want of quota."""
        if isinstance(error, DailyQuotaExhausted):
            after = self._until_reset() if error.retry_after is None else error.retry_after
            self._closed_until = max(self._closed_until, now + after)
        elif isinstance(error, Throttled):
            after = self._unsaid(now) if error.retry_after is None else error.retry_after
            self._blocked_until = max(self._blocked_until, now + after)
        else:
            return
        for kind, value in _told(error):
            self._learned[kind] = value
            if kind is QuotaKind.REQUESTS_PER_DAY:
                continue
            bucket = self._minute.setdefault(kind, TokenBucket(value, MINUTE, now))
            bucket.resize(value, now)
            bucket.drain(now)
            # when the time that upstream named has passed, a request fits: it says so itself
            bucket.refund(max(0.0, 1 - after * value / MINUTE), now)

    def _unsaid(self, now: float) -> float:
        """Return how long to leave upstream alone after a refusal that does not say."""
        latest = self._latest
        latest.miss(now)
        return UNSAID_SECONDS if latest.misses >= _UNSAID_SHARE * latest.hits else 0.0

    def status(self, project: str, model: str, now: float) -> Iterator[QuotaStatus]:
        """Tell every quota that is known, and that upstream wants to be left alone."""
        blocked = self._blocked_until if self._blocked_until > now else None
        closed = self._closed_until if self._closed_until > now else None
        for kind, bucket in self._minute.items():
            left = max(0, int(bucket.level(now)))
            learned = kind in self._learned
            yield QuotaStatus(model, kind, int(bucket.capacity), left, learned, blocked, project)
        if blocked is not None and not self._minute:
            kind = QuotaKind.REQUESTS_PER_MINUTE
            yield QuotaStatus(
                model, kind, 0, 0, learned=True, blocked_until=blocked, project=project
            )
        day = QuotaKind.REQUESTS_PER_DAY
        if self._day_limit or closed is not None:
            left = 0 if closed else max(0, self._day_limit - self._day_used)
            yield QuotaStatus(
                model, day, self._day_limit, left, day in self._learned, closed, project
            )


def _amount(kind: QuotaKind, tokens: float) -> float:
    return tokens if kind is QuotaKind.TOKENS_PER_MINUTE else 1.0


def _told(error: ServiceError) -> Iterator[tuple[QuotaKind, int]]:
    """Read quotas and their values off the `QuotaFailure` of a refusal, as far as it has them."""
    for detail in error.upstream.details if error.upstream else ():
        if not str(detail.get("@type", "")).endswith("QuotaFailure"):
            continue
        violations = detail.get("violations")
        for violation in violations if isinstance(violations, list) else ():
            if not isinstance(violation, dict):
                continue
            kind = _kind(str(violation.get("quotaId", "")))
            value = str(violation.get("quotaValue", ""))
            if kind is not None and _NUMBER.fullmatch(value) and int(value):
                yield kind, int(value)


def _kind(quota: str) -> QuotaKind | None:
    tokens = "Token" in quota
    if "PerMinute" in quota:
        return QuotaKind.TOKENS_PER_MINUTE if tokens else QuotaKind.REQUESTS_PER_MINUTE
    return QuotaKind.REQUESTS_PER_DAY if "PerDay" in quota and not tokens else None
