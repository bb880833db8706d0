"""One budget of attempts, for all that makes further ones: retries, hedges, other keys and models.

Two bounds hold for whatever mixture of them there is. One request has at most
`retry.max_attempts`. All requests together have, beyond their first attempts, `retry.budget_ratio`
for each one that succeeds, and `retry.budget_reserve` to begin with: a model that is down earns
nothing, so that its callers soon make one attempt each. What was earned and not used within ten
seconds is lost, so that a busy hour pays for no storm.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from gemini_backend.errors import CircuitOpen
from gemini_backend.policies.flow import SlidingCounts

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini_backend.call import Call
    from gemini_backend.clock import Clock
    from gemini_backend.config.sections.resilience import RetryOptions

MAX_ACCOUNTS = 1000
WINDOW_SECONDS = 10.0
EXHAUSTED_SECONDS = 30.0
_ROUNDING = 1e-9


class Refusal(Enum):
    """Why there is no further attempt."""

    ATTEMPTS = "the request has had as many attempts as it may have"
    BUDGET = "too few requests have succeeded recently for more attempts than one each"


class Attempting(Protocol):
    """What the layers that make attempts need of a budget."""

    def refusal(self, call: Call, model: str) -> Refusal | None:
        """Return why no further attempt may be made now; None where one may."""
        ...

    def left(self, call: Call) -> int:
        """Return how many attempts a request may still have, whatever the ratio."""
        ...

    def take(self, call: Call, model: str) -> bool:
        """Count an attempt that begins; return whether it was paid out of the ratio.

        Raises:
            CircuitOpen: with `spent`; there is none left.
        """
        ...

    def succeeded(self, call: Call, model: str, *, paid: bool) -> None:
        """Note that the answer to an attempt has begun."""
        ...

    def share_out(self, call: Call, models: int, *, elsewhere: bool) -> None:
        """Leave attempts for the models in line: the current one has its share of the rest."""
        ...

    def throttled(self, call: Call, model: str) -> None:
        """Note that an attempt was refused with the time after which another one is welcome."""
        ...

    def exhausted(self, call: Call, model: str) -> None:
        """Note that a request has failed for good after further attempts, or for want of any."""
        ...


class Uncounted:
    """Budget of a layer on its own: nobody counts."""

    def refusal(self, _call: Call, _model: str) -> Refusal | None:
        """Allow every attempt."""
        return None

    def left(self, _call: Call) -> int:
        """Leave one after each."""
        return 1

    def take(self, _call: Call, _model: str) -> bool:
        """Count nothing."""
        return False

    def succeeded(self, _call: Call, _model: str, *, paid: bool) -> None:
        """Note nothing."""

    def share_out(self, _call: Call, _models: int, *, elsewhere: bool) -> None:
        """Leave everything to each."""

    def throttled(self, _call: Call, _model: str) -> None:
        """Note nothing."""

    def exhausted(self, _call: Call, _model: str) -> None:
        """Note nothing."""


UNCOUNTED = Uncounted()


class _Account(Struct):
    """The further attempts that a model has left, as of a time.

    `answered` counts the requests that succeeded of late, `exhausted_until` is until when no
    retries of gRPC's are made.
    """

    left: float
    at: float
    answered: SlidingCounts
    exhausted_until: float = 0.0


class AttemptBudget:
    """Counts attempts, for each model and tenant apart: nobody's failures spend another's budget.

    At most `MAX_ACCOUNTS` of them are kept; beyond them the oldest begins anew.
    """

    def __init__(self, options: Callable[[], RetryOptions], clock: Clock) -> None:
        """Read the options anew for each attempt."""
        self._options = options
        self._clock = clock
        self._accounts: dict[tuple[str, str], _Account] = {}

    def refusal(self, call: Call, model: str) -> Refusal | None:
        """Return why no further attempt may be made now; None where one may.

        An attempt in place of one whose key was refused needs no budget: there are only so many
        keys, and each of them then rests.
        """
        attempts, options = call.attempts, self._options()
        if attempts.made == 0 and not attempts.again:
            return None
        limit = min(options.max_attempts, attempts.limit or options.max_attempts)
        if attempts.made >= limit:
            return Refusal.ATTEMPTS
        if attempts.unpaid > 0:
            return None
        left = self._account(call, model, options).left
        return Refusal.BUDGET if left < 1 - _ROUNDING else None

    def left(self, call: Call) -> int:
        """Return how many attempts a request may still have, whatever the ratio."""
        return max(0, self._options().max_attempts - call.attempts.made)

    def take(self, call: Call, model: str) -> bool:
        """Count an attempt that begins; return whether it was paid out of the ratio.

        The first one of a request is free, unless the request is itself a retry of gRPC's: then
        it is a further attempt as well, and none is made while the model fails whatever is tried.

        Raises:
            CircuitOpen: with `spent`; there is none left.
        """
        attempts = call.attempts
        if attempts.made == 0:
            attempts.model = model
            if not attempts.again:
                attempts.made = 1
                return False
            self._refuse_while_exhausted(call, model)
        refusal = self.refusal(call, model)
        if refusal is not None:
            raise _spent(f"{model}: {refusal.value}; retry later")
        attempts.made += 1
        if attempts.unpaid > 0:
            attempts.unpaid -= 1
            return False
        self._account(call, model, self._options()).left -= 1
        return True

    def succeeded(self, call: Call, model: str, *, paid: bool) -> None:
        """Earn a share of a further attempt; what a stand-in cost is given back.

        Another model that answers is not the one in trouble, and each of its answers would
        otherwise cost more than it earns.
        """
        options = self._options()
        account = self._account(call, model, options)
        account.exhausted_until = 0.0
        account.answered.hit_now()
        stood_in = paid and model != call.attempts.model
        account.left += options.budget_ratio + stood_in

    def share_out(self, call: Call, models: int, *, elsewhere: bool) -> None:
        """Give the current model its share of the attempts that are left, rounded up.

        Args:
            call: Whose attempts they are.
            models: How many models are in line for them, the current one included.
            elsewhere: Whether the next one is asked when the current one is not available.
        """
        attempts = call.attempts
        share = math.ceil(self.left(call) / models)
        attempts.limit = attempts.made + share if elsewhere else 0
        attempts.elsewhere = elsewhere

    def throttled(self, call: Call, model: str) -> None:
        """Let the attempt after a wait that the model API named be free, if the model answers.

        Such attempts go out at the pace of the quota; a crowd that is refused at once would
        otherwise spend the ratio, although each of its members is served in time. A model that
        refuses everybody grants none.
        """
        if self._account(call, model, self._options()).answered.hits:
            call.attempts.unpaid += 1

    def exhausted(self, call: Call, model: str) -> None:
        """Refuse retries of gRPC's until the model has answered, for half a minute at most."""
        options = self._options()
        if options.max_attempts > 1:
            account = self._account(call, model, options)
            account.exhausted_until = account.at + EXHAUSTED_SECONDS

    def _refuse_while_exhausted(self, call: Call, model: str) -> None:
        account = self._account(call, model, self._options())
        if account.at < account.exhausted_until:
            raise _spent(
                f"{model} has failed all attempts recently, so that it is not called for a retry "
                "by gRPC; make the call anew later, or name other models in fallback.models"
            )

    def _account(self, call: Call, model: str, options: RetryOptions) -> _Account:
        """Return what is left now."""
        now, key = self._clock.now(), (model, call.principal.tenant)
        account = self._accounts.get(key)
        if account is None:
            answered = SlidingCounts(WINDOW_SECONDS)
            answered.slide(now)
            account = self._accounts[key] = _Account(options.budget_reserve, now, answered)
            if len(self._accounts) > MAX_ACCOUNTS:
                del self._accounts[next(iter(self._accounts))]
            return account
        answered = account.answered
        answered.slide(now)
        left = account.left + (now - account.at) * options.budget_min_per_second
        most = options.budget_reserve + options.budget_ratio * answered.hits
        account.left = left
        if left > most:
            account.left = most
        account.at = now
        return account


def is_spent(error: BaseException | None) -> bool:
    """Say whether it was the budget of attempts that refused."""
    return isinstance(error, CircuitOpen) and error.spent


def _spent(message: str) -> CircuitOpen:
    error = CircuitOpen(message)
    error.spent = error.final = True
    return error
