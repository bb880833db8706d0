"""Upstream's quota is kept here, so that upstream need not refuse."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from gemini_backend.call import KEY
from gemini_backend.config.sections.flow import QuotaOptions
from gemini_backend.errors import (
    ConnectTimeout,
    OutOfQuota,
    PolicyError,
    QuotaExhausted,
    QuotaViolation,
    ServiceError,
    Throttled,
    UnknownModel,
    Unreachable,
)
from gemini_backend.models.names import full_name
from gemini_backend.policies.base import opened
from gemini_backend.policies.flow.model_quota import ModelQuota
from gemini_backend.policies.flow.token_estimate import estimated_tokens, usage_of, usage_of_failure
from gemini_backend.policies.switchable import Switchable
from gemini_backend.telemetry.component_status import QuotaKind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from gemini.backend.v1.content_pb2 import Usage
    from gemini_backend.call import Call
    from gemini_backend.clock import Clock
    from gemini_backend.config.sections.flow import QuotaLimitOptions
    from gemini_backend.policies.base import Stream, Unary
    from gemini_backend.policies.flow.learned_limits import Limits
    from gemini_backend.telemetry.component_status import QuotaStatus

MAX_MODELS = 1000


class Quota(Switchable[QuotaOptions]):
    """Lets a call wait until the model's quota covers it, if that is soon enough.

    A call reserves one request and an estimate of its tokens, and settles with what upstream
    counts. Who reserves first is served first. When upstream throttles, all calls of the model
    wait for as long as it says, and then go out one after the other; when a quota by the day is
    spent, they fail until it is there again, but for one now and then that tries. Each upstream
    project has quotas of its own. At most `MAX_MODELS` pairs of project and model are known;
    beyond them the one not used for longest is forgotten, with what was learnt.
    """

    def __init__(
        self,
        options: Callable[[], QuotaOptions],
        clock: Clock,
        until_reset: Callable[[], float],
    ) -> None:
        """Read the options anew for each call.

        Args:
            options: Gives the options in force.
            clock: Where waits are spent.
            until_reset: Gives the seconds until quotas by the day begin anew.
        """
        super().__init__(options)
        self._clock = clock
        self._until_reset = until_reset
        self._models: OrderedDict[tuple[str, str], ModelQuota] = OrderedDict()
        self._limits_of: tuple[QuotaOptions, dict[str, QuotaLimitOptions]] | None = None
        self.waiting = 0
        self.refused = 0

    async def _unary(
        self, call: Call, request: Any, proceed: Unary[Any, Any], options: QuotaOptions
    ) -> Any:
        """Answer once quota covers it.

        Raises:
            QuotaExhausted: it does not soon enough.
        """
        share = await self._reserved(call, request, options)
        try:
            response = await proceed(call, request)
        except ServiceError as error:
            self._failed(request, share, error, None)
            raise
        share.answered()
        share.settle(usage_of(response), self._clock.now())
        return response

    async def _stream(
        self, call: Call, request: Any, proceed: Stream[Any, Any], options: QuotaOptions
    ) -> AsyncIterator[Any]:
        """Hand events on once quota covers the call.

        Raises:
            QuotaExhausted: it does not soon enough.
        """
        share = await self._reserved(call, request, options)
        last = None
        try:
            async with opened(proceed(call, request)) as events:
                async for event in events:
                    last = event
                    yield event
            share.answered()
        except ServiceError as error:
            self._failed(request, share, error, last)
            raise
        finally:
            share.settle(usage_of(last), self._clock.now())

    def states(self) -> list[QuotaStatus]:
        """Return every quota that is known; none while the policy is off."""
        if not self._options().enabled:
            return []
        now = self._clock.now()
        return [one for key, quota in self._models.items() for one in quota.status(*key, now)]

    def wait(self, project: str, model: str) -> float:
        """Return how many seconds a project's quota for a model asks for before another call."""
        quota = self._models.get((project, model))
        return (
            0.0 if quota is None or not self._options().enabled else quota.wait(self._clock.now())
        )

    async def _reserved(self, call: Call, request: Any, options: QuotaOptions) -> _Share:
        """Reserve what a call needs, and wait until it is covered."""
        begun = self._clock.now()
        quota = self._quota(request.model, options, begun)
        tokens = estimated_tokens(request) if quota.counts_tokens else 0
        share = _Share(quota, tokens, probe=quota.take_probe(begun))
        wait = max(quota.reserve(tokens, begun, probe=share.probe), share.next_wait(begun))
        if wait <= 0:
            quota.sent(begun)
            return share
        remaining = call.remaining(begun)
        longest = options.max_wait_seconds
        longest = longest if remaining is None else min(longest, remaining)
        why, kept = quota.why(begun), False
        try:
            await self._wait(share, wait, begun + longest, options)
            kept = True
        finally:
            now = self._clock.now()
            call.outcome.queued_seconds += now - begun
            call.outcome.quota_seconds += now - begun
            call.outcome.quota_reason = why
            if not kept:
                share.refund(now)
        quota.sent(now)
        return share

    async def _wait(self, share: _Share, wait: float, latest: float, options: QuotaOptions) -> None:
        """Wait, and again where upstream has asked for more meanwhile, or others come first."""
        while wait > 0:
            now = self._clock.now()
            expected = max(wait, share.quota.line(now))
            if now + expected > latest:
                self.refused += 1
                share.leave_line()
                raise _exhausted(expected, "longer than this call may wait")
            if self.waiting >= options.max_waiting:
                self.refused += 1
                share.leave_line()
                raise _exhausted(wait, f"and {self.waiting} calls already wait (quota.max_waiting)")
            self.waiting += 1
            share.quota.waiting += 1
            try:
                await self._clock.sleep(wait)
            finally:
                self.waiting -= 1
                share.quota.waiting -= 1
            wait = share.next_wait(self._clock.now())

    def _failed(self, request: Any, share: _Share, error: ServiceError, last: Any) -> None:
        now, model = self._clock.now(), request.model
        if isinstance(error, OutOfQuota):
            share.quota.learn(error, estimated_tokens(request), now)
        if isinstance(error, PolicyError | Unreachable | ConnectTimeout):
            share.refund(now)
        elif isinstance(error, Throttled):
            share.settle_for(0, now)
        else:
            share.settle(usage_of_failure(error, last), now)
        if isinstance(error, UnknownModel):
            self._models.pop((_project(), model), None)

    def _quota(self, model: str, options: QuotaOptions, now: float) -> ModelQuota:
        key = (_project(), model)
        quota = self._models.get(key)
        if quota is None:
            quota = self._models[key] = ModelQuota(self._until_reset)
            if len(self._models) > MAX_MODELS:
                self._models.popitem(last=False)
        else:
            self._models.move_to_end(key)
        quota.configure(self._limits(model, options), options.probe_seconds, now)
        return quota

    def _limits(self, model: str, options: QuotaOptions) -> Limits:
        if self._limits_of is None or self._limits_of[0] is not options:
            by_name = {full_name(limit.model): limit for limit in options.models}
            self._limits_of = (options, by_name)
        limit = self._limits_of[1].get(model, options)
        return {
            QuotaKind.REQUESTS_PER_MINUTE: limit.requests_per_minute,
            QuotaKind.TOKENS_PER_MINUTE: limit.tokens_per_minute,
            QuotaKind.REQUESTS_PER_DAY: limit.requests_per_day,
        }

    def _shown(self, options: QuotaOptions) -> str:
        return (
            f"requests_per_minute={options.requests_per_minute}, "
            f"tokens_per_minute={options.tokens_per_minute}, "
            f"requests_per_day={options.requests_per_day}, {len(options.models)} models with their "
            f"own quota, max_wait={options.max_wait_seconds:g} s"
        )


class _Share:
    """What one call has reserved, and its place in the line; settled or given back once."""

    __slots__ = ("_done", "_has_turn", "_tokens", "probe", "quota")

    def __init__(self, quota: ModelQuota, tokens: float, *, probe: bool) -> None:
        self.quota = quota
        self.probe = probe
        self._tokens = tokens
        self._done = False
        self._has_turn = probe

    def next_wait(self, now: float) -> float:
        """Return the seconds to wait from now on: while all do, and then until its turn."""
        if self.probe:
            return 0.0
        blocked = self.quota.blocked(now)
        if blocked > 0:
            self._has_turn = False
            return blocked
        if self._has_turn:
            return 0.0
        self._has_turn = True
        return self.quota.slot(now)

    def leave_line(self) -> None:
        """Give back the turn that was taken last."""
        if self._has_turn and not self.probe:
            self.quota.give_slot_back()

    def answered(self) -> None:
        """Note an answer: where it was to try a closed quota, that is open again."""
        if self.probe:
            self.quota.opened()

    def settle(self, usage: Usage | None, now: float) -> None:
        """Settle with what was counted; keep the estimate where nothing was."""
        if usage is not None:
            self.settle_for(max(0, usage.prompt_token_count), now)
        self._done = True

    def settle_for(self, tokens: float, now: float) -> None:
        """Settle with so many tokens."""
        if not self._done:
            self._done = True
            self.quota.settle(self._tokens, tokens, now)

    def refund(self, now: float) -> None:
        """Give everything back."""
        if not self._done:
            self._done = True
            self.quota.refund(self._tokens, now)


def _project() -> str:
    """Return the project of the key that the attempt goes out with; empty where there is none."""
    key = KEY.get()
    return "" if key is None else key.project


def _exhausted(wait: float, why: str) -> QuotaExhausted:
    return QuotaExhausted(
        f"the model's quota is used up for another {wait:.3g} s, {why}; retry after that time, set "
        "a later deadline, or name other models in fallback.models",
        retry_after=wait,
        quota=[QuotaViolation("project", "the quota of the upstream project for this model")],
    )
