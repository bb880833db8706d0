"""Another try, as long as nothing of an answer has been handed out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gemini_backend.config.sections.resilience import RetryOptions
from gemini_backend.errors import ServiceError
from gemini_backend.policies.attempts.retry_budget import RetryBudget
from gemini_backend.policies.base import opened
from gemini_backend.policies.failure_classification import another_try_helps
from gemini_backend.policies.switchable import Switchable
from gemini_backend.telemetry.events import SILENT, RetryScheduled

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from random import Random

    from gemini_backend.call import Call
    from gemini_backend.clock import Clock
    from gemini_backend.policies.base import Stream, Unary
    from gemini_backend.telemetry.events import Publisher


@dataclass(slots=True)
class RetryCounts:
    """What has been done since the start."""

    retries: int = 0
    out_of_attempts: int = 0
    out_of_budget: int = 0
    out_of_time: int = 0


class Retry(Switchable[RetryOptions]):
    """Tries the rest of the call again when the error says that this helps.

    Waits between tries are drawn from 0 to a limit that grows (full jitter); where upstream says
    how long to wait, exactly so long. No wait outlasts the call's deadline: where it would, the
    call fails at once. Further tries come out of a budget, a share of all calls.
    """

    def __init__(
        self,
        options: Callable[[], RetryOptions],
        clock: Clock,
        random: Random,
        *,
        bus: Publisher = SILENT,
    ) -> None:
        """Read the options anew for each call.

        Args:
            options: Gives the options in force.
            clock: Where waits are spent.
            random: Where waits are drawn from.
            bus: Where each further try is published.
        """
        super().__init__(options)
        self._clock = clock
        self._random = random
        self._bus = bus
        self._budget = RetryBudget()
        self.counts = RetryCounts()

    async def _unary(
        self, call: Call, request: Any, proceed: Unary[Any, Any], options: RetryOptions
    ) -> Any:
        """Answer, at the first try or a further one.

        Raises:
            ServiceError: of the last try, unchanged but for what it says of the tries.
        """
        self._budget.call(self._clock.now())
        tries = 1
        while True:
            try:
                return await proceed(call, request)
            except ServiceError as error:
                await self._clock.sleep(self._wait(call, request.model, options, error, tries))
            tries += 1

    async def _stream(
        self, call: Call, request: Any, proceed: Stream[Any, Any], options: RetryOptions
    ) -> AsyncIterator[Any]:
        """Hand events on; a failure before the first one leads to another try.

        Raises:
            ServiceError: of the last try, unchanged but for what it says of the tries.
        """
        self._budget.call(self._clock.now())
        tries, committed = 1, False
        while True:
            try:
                async with opened(proceed(call, request)) as events:
                    async for event in events:
                        committed = True
                        yield event
            except ServiceError as error:
                if committed:
                    raise
                delay = self._wait(call, request.model, options, error, tries)
            else:
                return
            await self._clock.sleep(delay)
            tries += 1

    def _wait(
        self, call: Call, model: str, options: RetryOptions, error: ServiceError, tries: int
    ) -> float:
        """Return how long to wait before the next try, or raise the error when there is none."""
        delay = self._delay(call, options, error, tries)
        if delay is None:
            if tries > 1:
                error.metadata["attempts"] = str(tries)
                error.final = True
            raise error
        self.counts.retries += 1
        if self._bus.heard(RetryScheduled):
            self._bus.publish(RetryScheduled(call.execution, model, tries, delay, error.reason))
        return delay

    def _delay(
        self, call: Call, options: RetryOptions, error: ServiceError, tries: int
    ) -> float | None:
        if not another_try_helps(error):
            return None
        if tries >= options.max_attempts:
            self.counts.out_of_attempts += 1
            return None
        delay = self._pause(options, error, tries)
        now = self._clock.now()
        remaining = call.remaining(now)
        if delay == math.inf or (remaining is not None and delay >= remaining):
            self.counts.out_of_time += 1
            return None
        if not self._budget.spend(now, options.budget_ratio, options.budget_min_per_second):
            self.counts.out_of_budget += 1
            error.metadata["retry_budget"] = "spent"
            error.final = True  # or callers would make the storm that the budget is against
            return None
        return delay

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
