"""What each principal may ask for, by the minute."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from gemini_backend.errors import QuotaViolation, RateLimited, ServiceError
from gemini_backend.policies.base import opened
from gemini_backend.policies.flow.token_bucket import TokenBucket
from gemini_backend.policies.flow.token_estimate import (
    estimated_tokens,
    not_cached,
    total_of,
    usage_of,
    usage_of_failure,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from gemini.backend.v1.content_pb2 import Usage
    from gemini_backend.call import Call, Principal
    from gemini_backend.clock import Clock
    from gemini_backend.config.sections.flow import RateLimitOptions
    from gemini_backend.policies.base import Stream, Unary

MAX_PRINCIPALS = 10_000
_MINUTE = 60.0


class RateLimit:
    """Refuses what goes beyond a principal's requests and tokens a minute; nothing waits.

    Tokens are reserved by an estimate and settled with the real usage, which may leave a debt; what
    Gemini read from its context cache counts only if so configured. At
    most `MAX_PRINCIPALS` are known; beyond them the one not seen for longest starts anew.
    """

    def __init__(
        self,
        options: Callable[[], RateLimitOptions],
        clock: Clock,
    ) -> None:
        """Read the options anew for each call."""
        self._options = options
        self._clock = clock
        self._buckets: OrderedDict[str, _Allowance] = OrderedDict()
        self.refused = 0

    async def unary(self, call: Call, request: Any, proceed: Unary[Any, Any], /) -> Any:
        """Answer within the limit.

        Raises:
            RateLimited: it is beyond it.
        """
        taken = self._take(call, request)
        if taken is None:
            return await proceed(call, request)
        try:
            response = await proceed(call, request)
        except ServiceError as error:
            taken.failed(usage_of_failure(error, None), self._clock.now())
            raise
        taken.settle(usage_of(response), self._clock.now())
        return response

    def stream(self, call: Call, request: Any, proceed: Stream[Any, Any], /) -> AsyncIterator[Any]:
        """Hand events on within the limit.

        Raises:
            RateLimited: it is beyond it.
        """
        taken = self._take(call, request)
        if taken is None:
            return proceed(call, request)
        return self._stream(call, request, proceed, taken)

    async def _stream(
        self, call: Call, request: Any, proceed: Stream[Any, Any], taken: _Taken
    ) -> AsyncIterator[Any]:
        last = None
        try:
            async with opened(proceed(call, request)) as events:
                async for event in events:
                    last = event
                    yield event
        except ServiceError as error:
            taken.failed(usage_of_failure(error, last), self._clock.now())
            raise
        finally:
            taken.settle(usage_of(last), self._clock.now())

    def _take(self, call: Call, request: Any) -> _Taken | None:
        """Take a call out of its principal's allowance; None where tokens do not matter."""
        options = self._options()
        if not (options.requests_per_minute or options.tokens_per_minute):
            return None
        key, now = _key_of(call.principal), self._clock.now()
        allowance = self._buckets.get(key)
        if allowance is None:
            allowance = self._buckets[key] = _Allowance()
            if len(self._buckets) > MAX_PRINCIPALS:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(key)
        allowance.configure(options, now)
        estimate = estimated_tokens(request) if allowance.tokens else 0
        waits = allowance.take(estimate, now)
        if waits:
            self.refused += 1
            raise _limited(key, waits, options)
        if allowance.tokens is None:
            return None
        count = total_of if options.count_cached_tokens else not_cached
        return _Taken(allowance.tokens, estimate, count)

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

    def configure(self, options: RateLimitOptions, now: float) -> None:
        """Take over the limits in force."""
        self.requests = _sized(self.requests, options.requests_per_minute, now)
        self.tokens = _sized(self.tokens, options.tokens_per_minute, now)

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


class _Taken:
    """Tokens that a call has taken on account; settled once."""

    __slots__ = ("_bucket", "_count", "_done", "_tokens")

    def __init__(self, bucket: TokenBucket, tokens: float, count: Callable[[Usage], int]) -> None:
        self._bucket = bucket
        self._count = count
        self._tokens = min(tokens, bucket.capacity)
        self._done = False

    def settle(self, usage: Usage | None, now: float) -> None:
        """Settle with what was counted; keep the estimate where nothing was."""
        if usage is not None and not self._done:
            self._bucket.settle(self._tokens, self._count(usage), now)
        self._done = True

    def failed(self, usage: Usage | None, now: float) -> None:
        """Settle a call that failed: what was not counted costs nothing."""
        if usage is None:
            self._bucket.refund(self._tokens, now)
            self._done = True
        self.settle(usage, now)


def _sized(bucket: TokenBucket | None, limit: int, now: float) -> TokenBucket | None:
    if not limit:
        return None
    if bucket is None:
        return TokenBucket(limit, _MINUTE, now)
    if bucket.capacity != limit:
        bucket.resize(limit, now)
    return bucket


def _key_of(principal: Principal) -> str:
    return f"{principal.tenant}/{principal.name}"


def _limited(key: str, waits: dict[str, float], options: RateLimitOptions) -> RateLimited:
    limits = {"requests": options.requests_per_minute, "tokens": options.tokens_per_minute}
    wait = max(waits.values())
    words = " and ".join(f"{limits[name]} {name} per minute" for name in waits)
    return RateLimited(
        f"the limit of {words} is reached; retry in {wait:.3g} s",
        retry_after=wait,
        quota=[QuotaViolation(key, f"{limits[name]} {name} per minute") for name in waits],
    )
