"""What each principal may ask for, by the minute."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from gemini_backend.errors import QuotaViolation, RateLimited, ServiceError
from gemini_backend.policies.flow.last_event import LastEvent
from gemini_backend.policies.flow.token_bucket import TokenBucket
from gemini_backend.policies.flow.token_estimate import (
    estimated_tokens,
    not_cached,
    total_of,
    usage_of,
    usage_of_failure,
)
from gemini_backend.policies.relay import Hook
from gemini_backend.principal import NO_LIMITS, Limits

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini.backend.v1.content_pb2 import Usage
    from gemini_backend.clock import Clock
    from gemini_backend.config.sections.flow import RateLimitOptions
    from gemini_backend.policies.relay import Run
    from gemini_backend.principal import Owner, Principal

MAX_PRINCIPALS = 10_000
_MINUTE = 60.0


class RateLimit(Hook):
    """Refuses what goes beyond a principal's requests and tokens a minute; nothing waits.

    Tokens are reserved by an estimate and settled with the real usage, which may leave a debt; what
    Gemini read from its context cache counts only if so configured. At
    most `MAX_PRINCIPALS` are known; beyond them the one not seen for longest starts anew.
    """

    def __init__(
        self,
        options: Callable[[], RateLimitOptions],
        clock: Clock,
        *,
        of_principals: Callable[[], bool] = lambda: False,
    ) -> None:
        """Read the options anew for each call.

        Args:
            options: What holds where a principal has no limits of its own.
            clock: Times the minutes.
            of_principals: Whether principals may have limits of their own.
        """
        self._options = options
        self._of_principals = of_principals
        self._clock = clock
        self._buckets: OrderedDict[Owner, _Allowance] = OrderedDict()
        self.refused = 0

    def is_on(self) -> bool:
        """Return whether there is a limit."""
        options = self._options()
        limited = options.requests_per_minute or options.tokens_per_minute
        return bool(limited) or self._of_principals()

    def begin(self, run: Run, /) -> None:
        """Take a call out of its principal's allowance.

        Raises:
            RateLimited: it is beyond the limit.
        """
        options, principal = self._options(), run.call.principal
        limits = _limits_of(principal, options)
        if not (limits.requests_per_minute or limits.tokens_per_minute):
            return
        key, now = principal.owner, self._clock.now()
        allowance = self._buckets.get(key)
        if allowance is None:
            allowance = self._buckets[key] = _Allowance()
            if len(self._buckets) > MAX_PRINCIPALS:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(key)
        allowance.configure(limits, now)
        estimate = estimated_tokens(run.request) if allowance.tokens else 0
        waits = allowance.take(estimate, now)
        if waits:
            self.refused += 1
            raise _limited(key, waits, limits)
        if allowance.tokens is not None:
            count = total_of if options.count_cached_tokens else not_cached
            run.watch(_Taken(allowance.tokens, estimate, count, self._clock))

    def __repr__(self) -> str:
        """Name the policy and its options."""
        options = self._options()
        return (
            f"RateLimit(requests_per_minute={options.requests_per_minute}, "
            f"tokens_per_minute={options.tokens_per_minute})"
        )


class _Allowance:
    """The two buckets of one principal; None where there is no limit."""

    __slots__ = ("requests", "tokens")

    def __init__(self) -> None:
        self.requests: TokenBucket | None = None
        self.tokens: TokenBucket | None = None

    def configure(self, limits: Limits, now: float) -> None:
        """Take over the limits in force."""
        self.requests = _sized(self.requests, limits.requests_per_minute or 0, now)
        self.tokens = _sized(self.tokens, limits.tokens_per_minute or 0, now)

    def take(self, tokens: float, now: float) -> dict[str, float]:
        """Take a request and its tokens, or nothing: then return what is short, and how long."""
        requests = self.requests.take(1, now) if self.requests else 0.0
        missing = self.tokens.take(tokens, now) if self.tokens else 0.0
        short = {"requests": requests, "tokens": missing}
        short = {name: wait for name, wait in short.items() if wait > 0}
        if short and self.requests and "requests" not in short:
            self.requests.refund(1, now)
        if short and self.tokens and "tokens" not in short:
            self.tokens.refund(min(tokens, self.tokens.capacity), now)
        return short


class _Taken(LastEvent):
    """Tokens that a call has taken on account; settled at its end."""

    __slots__ = ("_bucket", "_clock", "_count", "_tokens", "last")

    def __init__(
        self,
        bucket: TokenBucket,
        tokens: float,
        count: Callable[[Usage], int],
        clock: Clock,
    ) -> None:
        self._bucket = bucket
        self._tokens = min(tokens, bucket.capacity)
        self._count = count
        self._clock = clock
        self.last = None

    def end(self, error: BaseException | None, /) -> None:
        """Settle with what was counted.

        Where nothing was, a failure costs nothing, and all else what was estimated.
        """
        now = self._clock.now()
        if isinstance(error, ServiceError):
            usage = usage_of_failure(error, self.last)
            if usage is None:
                self._bucket.refund(self._tokens, now)
        else:
            usage = usage_of(self.last)
        if usage is not None:
            self._bucket.settle(self._tokens, self._count(usage), now)


def _sized(bucket: TokenBucket | None, limit: int, now: float) -> TokenBucket | None:
    if not limit:
        return None
    if bucket is None:
        return TokenBucket(limit, _MINUTE, now)
    if bucket.capacity != limit:
        bucket.resize(limit, now)
    return bucket


def _limits_of(principal: Principal, options: RateLimitOptions) -> Limits:
    """Return a principal's own limits, and the configured ones where it has none."""
    own = principal.limits
    if own is NO_LIMITS:
        return Limits(options.requests_per_minute, options.tokens_per_minute)
    requests, tokens = own.requests_per_minute, own.tokens_per_minute
    return Limits(
        options.requests_per_minute if requests is None else requests,
        options.tokens_per_minute if tokens is None else tokens,
    )


def _limited(owner: Owner, waits: dict[str, float], most: Limits) -> RateLimited:
    key = f"{owner.tenant}/{owner.principal}"
    limits = {"requests": most.requests_per_minute, "tokens": most.tokens_per_minute}
    wait = max(waits.values())
    words = " and ".join(f"{limits[name]} {name} per minute" for name in waits)
    return RateLimited(
        f"the limit of {words} is reached; retry in {wait:.3g} s",
        retry_after=wait,
        quota=[QuotaViolation(key, f"{limits[name]} {name} per minute") for name in waits],
    )
