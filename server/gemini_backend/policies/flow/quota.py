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
from gemini_backend.policies.event_stream import Watch
from gemini_backend.policies.flow.last_event import LastEvent
from gemini_backend.policies.flow.model_quota import ModelQuota
from gemini_backend.policies.flow.token_estimate import estimated_tokens, usage_of, usage_of_failure
from gemini_backend.policies.relay import Hook
from gemini_backend.policies.switchable import Switchable
from gemini_backend.telemetry.component_status import QuotaKind

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gemini.backend.v1.content_pb2 import Usage
    from gemini_backend.clock import Clock
    from gemini_backend.config.sections.flow import QuotaLimitOptions
    from gemini_backend.policies.flow.learned_limits import Limits
    from gemini_backend.policies.relay import Run
    from gemini_backend.telemetry.component_status import QuotaStatus

MAX_MODELS = 1000


class Quota(Switchable[QuotaOptions], Hook):
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
        self.clock = clock
        self._until_reset = until_reset
        self._models: OrderedDict[tuple[str, str], ModelQuota] = OrderedDict()
        self._limits_of: tuple[QuotaOptions, dict[str, Limits], Limits] | None = None
        self.waiting = 0
        self.refused = 0

    def begin(self, run: Run, /) -> Awaitable[None] | None:
        """Reserve what an attempt needs, or wait until quota covers it.

        Raises:
            QuotaExhausted: it does not soon enough.
        """
        options, now, request = self._options(), self.clock.now(), run.request
        key = (_project(), request.model)
        known = self._models.get(key)
        if known is not None and known.passes(options, now):
            self._models.move_to_end(key)
            run.watches.append(_Share(self, known, request, 0))
            return None
        quota = self._quota(key, options, now)
        if quota.counts_tokens:
            share: _Share = _CountedShare(self, quota, request, estimated_tokens(request))
        else:
            share = _Share(self, quota, request, 0)
        share.probe = quota.take_probe(now)
        wait = max(quota.reserve(share.tokens, now, probe=share.probe), share.next_wait(now))
        if wait > 0:
            return self._wait_for_share(run, share, wait, now)
        quota.sent(now)
        run.watch(share)
        return None

    def states(self) -> list[QuotaStatus]:
        """Return every quota that is known; none while the policy is off."""
        if not self._options().enabled:
            return []
        now = self.clock.now()
        return [one for key, quota in self._models.items() for one in quota.status(*key, now)]

    def wait(self, project: str, model: str) -> float:
        """Return how many seconds a project's quota for a model asks for before another call."""
        quota = self._models.get((project, model))
        return 0.0 if quota is None or not self._options().enabled else quota.wait(self.clock.now())

    async def _wait_for_share(self, run: Run, share: _Share, wait: float, begun: float) -> None:
        """Wait until what is reserved is covered."""
        call, options = run.call, self._options()
        remaining = call.remaining(begun)
        longest = options.max_wait_seconds
        longest = longest if remaining is None else min(longest, remaining)
        why, kept = share.quota.why(begun), False
        try:
            await self._wait(share, wait, begun + longest, options)
            kept = True
        finally:
            now = self.clock.now()
            call.outcome.queued_seconds += now - begun
            call.outcome.quota_seconds += now - begun
            call.outcome.quota_reason = why
            if not kept:
                share.refund(now)
        share.quota.sent(now)
        run.watch(share)

    async def _wait(self, share: _Share, wait: float, latest: float, options: QuotaOptions) -> None:
        """Wait, and again where upstream has asked for more meanwhile, or others come first."""
        while wait > 0:
            now = self.clock.now()
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
                await self.clock.sleep(wait)
            finally:
                self.waiting -= 1
                share.quota.waiting -= 1
            wait = share.next_wait(self.clock.now())

    def failed(self, request: Any, share: _Share, error: ServiceError, last: Any) -> None:
        """Settle a share whose attempt has failed, and learn of it."""
        now = self.clock.now()
        if isinstance(error, OutOfQuota):
            share.quota.learn(error, estimated_tokens(request), now)
        if isinstance(error, PolicyError | Unreachable | ConnectTimeout):
            share.refund(now)
        elif isinstance(error, Throttled):
            share.settle_for(0, now)
        else:
            share.settle(usage_of_failure(error, last), now)
        if isinstance(error, UnknownModel):
            self._forget(share.quota)

    def _forget(self, quota: ModelQuota) -> None:
        """Keep nothing of a name that is no model's."""
        for key in [key for key, known in self._models.items() if known is quota]:
            del self._models[key]

    def _quota(self, key: tuple[str, str], options: QuotaOptions, now: float) -> ModelQuota:
        quota = self._models.get(key)
        if quota is None:
            quota = self._models[key] = ModelQuota(self._until_reset)
            if len(self._models) > MAX_MODELS:
                self._models.popitem(last=False)
        else:
            self._models.move_to_end(key)
        limits = self._limits(key[1], options)
        quota.configure(limits, options.probe_seconds, now, revision=options)
        return quota

    def _limits(self, model: str, options: QuotaOptions) -> Limits:
        """Return what is configured for a model: the same object until that changes."""
        if self._limits_of is None or self._limits_of[0] is not options:
            by_name = {full_name(limit.model): _limits_in(limit) for limit in options.models}
            self._limits_of = (options, by_name, _limits_in(options))
        _, by_name, others = self._limits_of
        return by_name.get(model, others)

    def _shown(self, options: QuotaOptions) -> str:
        return (
            f"requests_per_minute={options.requests_per_minute}, "
            f"tokens_per_minute={options.tokens_per_minute}, "
            f"requests_per_day={options.requests_per_day}, {len(options.models)} models with their "
            f"own quota, max_wait={options.max_wait_seconds:g} s"
        )


class _Share(Watch):
    """What one attempt has reserved, and its place in the line; settled or given back once."""

    __slots__ = ("_done", "_has_turn", "_owner", "_probe", "_request", "quota", "tokens")

    def __init__(self, owner: Quota, quota: ModelQuota, request: Any, tokens: float) -> None:
        self.quota = quota
        self.tokens = tokens
        self._owner = owner
        self._request = request
        self._probe = self._has_turn = False
        self._done = False

    @property
    def probe(self) -> bool:
        """Whether the attempt is to try a closed quota; it need not wait then."""
        return self._probe

    @probe.setter
    def probe(self, probe: bool) -> None:
        self._probe = self._has_turn = probe

    def end(self, error: BaseException | None, /) -> None:
        if self._probe or error is not None:  # else there is nothing to settle
            self._ended(error, None)

    def _ended(self, error: BaseException | None, last: Any) -> None:
        """Settle with the last of the answer that was seen."""
        if isinstance(error, ServiceError):
            self._owner.failed(self._request, self, error, last)
        elif error is None and self._probe:
            self.quota.opened()
        if not self._done:
            self.settle(usage_of(last), self._owner.clock.now())

    def next_wait(self, now: float) -> float:
        """Return the seconds to wait from now on: while all do, and then until its turn."""
        if self._probe:
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
        if self._has_turn and not self._probe:
            self.quota.give_slot_back()

    def settle(self, usage: Usage | None, now: float) -> None:
        """Settle with what was counted; keep the estimate where nothing was."""
        if usage is not None:
            self.settle_for(max(0, usage.prompt_token_count), now)
        self._done = True

    def settle_for(self, tokens: float, now: float) -> None:
        """Settle with so many tokens."""
        if not self._done:
            self._done = True
            self.quota.settle(self.tokens, tokens, now)

    def refund(self, now: float) -> None:
        """Give everything back."""
        if not self._done:
            self._done = True
            self.quota.refund(self.tokens, now)


class _CountedShare(LastEvent, _Share):
    """A share of a quota of tokens, which are counted at the end of the answer."""

    __slots__ = ("last",)

    def __init__(self, owner: Quota, quota: ModelQuota, request: Any, tokens: float) -> None:
        super().__init__(owner, quota, request, tokens)
        self.last = None

    def end(self, error: BaseException | None, /) -> None:
        self._ended(error, self.last)


def _limits_in(options: QuotaLimitOptions | QuotaOptions) -> Limits:
    return {
        QuotaKind.REQUESTS_PER_MINUTE: options.requests_per_minute,
        QuotaKind.TOKENS_PER_MINUTE: options.tokens_per_minute,
        QuotaKind.REQUESTS_PER_DAY: options.requests_per_day,
    }


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
