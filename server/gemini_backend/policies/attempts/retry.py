"""Another try, as long as nothing of an answer has been handed out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gemini_backend.config.sections.resilience import RetryOptions
from gemini_backend.errors import CircuitOpen, OutOfQuota, ServiceError, Throttled
from gemini_backend.policies.attempts.attempt_budget import UNCOUNTED, Refusal, is_spent
from gemini_backend.policies.failure_classification import another_try_helps
from gemini_backend.policies.switchable import Switchable
from gemini_backend.policies.wrapper import Around
from gemini_backend.telemetry.events import SILENT, RetryScheduled

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from gemini_backend.call import Call
    from gemini_backend.clock import Clock
    from gemini_backend.policies.attempts.attempt_budget import Attempting
    from gemini_backend.policies.wrapper import Whole
    from gemini_backend.telemetry.events import Publisher


# How many calls wait for circuits at a time; beyond, they are refused at once.
MAX_WAITING = 1000
# Those that wait for one circuit come back over a time that grows with their number.
_SHORTEST_SPREAD, _LONGEST_SPREAD, _SPREAD_OF_OUTAGE = 0.25, 2.5, 0.5
# When a caller may come back whose attempts are used up, where upstream does not say.
_COME_BACK_SECONDS = 2.0, 5.0


@dataclass(slots=True)
class RetryCounts:
    """What has been done since the start."""

    retries: int = 0
    out_of_attempts: int = 0
    out_of_budget: int = 0
    out_of_time: int = 0


@dataclass(slots=True)
class _Tries:
    """What has come of one call so far."""

    made: int = 0
    failure: ServiceError | None = None
    for_circuit: bool = False


class Retry(Switchable[RetryOptions], Around):
    """Tries the rest of the call again when the error says that this helps.

    Waits between tries are drawn from 0 to a limit that grows (full jitter); where upstream says
    how long to wait, exactly so long. No wait outlasts the call's deadline: where it would, the
    call fails at once. Further tries come out of the budget of all attempts.

    A call that meets a circuit that has only just opened waits until it lets calls through again,
    which is no try; where another model is in line, it does not. At most `MAX_WAITING` calls wait.
    """

    def __init__(
        self,
        options: Callable[[], RetryOptions],
        clock: Clock,
        random: Random,
        *,
        bus: Publisher = SILENT,
        budget: Attempting = UNCOUNTED,
    ) -> None:
        """Read the options anew for each call.

        Args:
            options: Gives the options in force.
            clock: Where waits are spent.
            random: Where waits are drawn from.
            bus: Where each further try is published.
            budget: What further tries come out of.
        """
        super().__init__(options)
        self._clock = clock
        self._random = random
        self._bus = bus
        self._budget = budget
        self._waiting = 0
        self.counts = RetryCounts()

    async def run(self, call: Call, request: Any, proceed: Whole, /) -> Any:
        """Answer, at the first try or a further one; of a stream its first event ends the tries.

        Raises:
            ServiceError: of the last try, unchanged but for what it says of the tries.
        """
        options, tries = self._options(), None
        while True:
            try:
                return await proceed(call, request)
            except ServiceError as error:
                tries = tries or _Tries()
                delay = self._next(call, request.model, options, error, tries)
            await self._sleep(call, delay, tries)

    async def _sleep(self, call: Call, seconds: float, tries: _Tries) -> None:
        """Wait; for a circuit as one of those that do."""
        if not tries.for_circuit:
            await self._clock.sleep(seconds)
            return
        self._waiting += 1
        try:
            await self._clock.sleep(seconds)
        finally:
            self._waiting -= 1
        call.outcome.queued_seconds += seconds

    def _next(
        self, call: Call, model: str, options: RetryOptions, error: ServiceError, tries: _Tries
    ) -> float:
        """Return how long to wait before the next try, or raise the failure when there is none."""
        tries.for_circuit = isinstance(error, CircuitOpen) and not error.spent
        if isinstance(error, CircuitOpen) and not error.spent:
            return self._until_probe(call, model, error, tries)
        failure = error
        if not is_spent(error):
            tries.made += 1
        elif tries.failure is not None:
            failure = tries.failure
        tries.failure = failure
        delay = self._delay(call, model, options, error, tries.made)
        if delay is None:
            self._tell(failure, tries)
            raise failure
        self.counts.retries += 1
        if isinstance(error, OutOfQuota):
            call.outcome.quota_seconds += delay
            call.outcome.quota_reason = "upstream throttles the project"
        if self._bus.heard(RetryScheduled):
            event = RetryScheduled(call.execution, model, tries.made, delay, failure.reason)
            self._bus.publish(event)
        return delay

    def _until_probe(self, call: Call, model: str, error: CircuitOpen, tries: _Tries) -> float:
        """Return how long to wait for a circuit, or raise its failure where it is not waited for.

        Calls come back over a time that grows with the outage, so that they meet the model spread
        out when it is back.
        """
        if tries.failure is not None and self._budget.refusal(call, model) is not None:
            self._tell(tries.failure, tries)
            raise tries.failure  # no try would be left after the wait
        spread = min(max(_SHORTEST_SPREAD, error.outage * _SPREAD_OF_OUTAGE), _LONGEST_SPREAD)
        delay = (error.retry_after or 0.0) + self._random.uniform(0.0, spread)
        remaining = call.remaining(self._clock.now())
        in_time = remaining is None or delay < remaining
        waits = error.awaited and not call.attempts.elsewhere and self._waiting < MAX_WAITING
        if waits and in_time:
            return delay
        if tries.made:
            error.metadata["attempts"] = str(tries.made)
            error.final = True
        raise error

    def _delay(
        self, call: Call, model: str, options: RetryOptions, error: ServiceError, tries: int
    ) -> float | None:
        if is_spent(error):
            self.counts.out_of_budget += 1
            return None
        if not another_try_helps(error):
            return None
        if isinstance(error, Throttled) and error.retry_after is not None:
            self._budget.throttled(call, model)
        refusal = self._budget.refusal(call, model)
        if tries >= options.max_attempts or refusal is Refusal.ATTEMPTS:
            self.counts.out_of_attempts += 1
            self._budget.exhausted(call, model)
            return None
        delay = self._pause(options, error, tries)
        remaining = call.remaining(self._clock.now())
        if delay == math.inf or (remaining is not None and delay >= remaining):
            self.counts.out_of_time += 1
            return None
        if refusal is Refusal.BUDGET:
            self.counts.out_of_budget += 1
            self._budget.exhausted(call, model)
            error.metadata["retry_budget"] = "spent"
            error.final = True  # or callers would make the storm that the budget is against
            return None
        return delay

    def _tell(self, failure: ServiceError, tries: _Tries) -> None:
        """Say of a failure that is final how many tries there were, and when to come back."""
        if tries.made > 1:
            failure.metadata["attempts"] = str(tries.made)
            failure.final = True
        if failure.final and failure.retryable and failure.retry_after is None:
            failure.retry_after = self._random.uniform(*_COME_BACK_SECONDS)

    def _pause(self, options: RetryOptions, error: ServiceError, tries: int) -> float:
        """Return the seconds to wait; infinite where upstream asks for more than is allowed."""
        asked = error.retry_after
        if asked is not None:
            return asked if asked <= options.max_retry_after_seconds else math.inf
        grown = options.initial_delay_ms / 1000 * options.exponential_base ** (tries - 1)
        return self._random.uniform(0.0, min(grown, options.max_delay_seconds))

    def _shown(self, options: RetryOptions) -> str:
        return (
            f"max_attempts={options.max_attempts}, "
            f"initial_delay={options.initial_delay_ms:g} ms, base={options.exponential_base:g}"
        )
