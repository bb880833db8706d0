"""A second attempt beside one that is slow to begin; the first to answer wins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gemini_backend.config.sections.resilience import HedgeOptions
from gemini_backend.policies.attempts.attempt_budget import UNCOUNTED
from gemini_backend.policies.attempts.hedging.hedge_share import HedgeShare
from gemini_backend.policies.attempts.hedging.latency_quantiles import LatencyQuantiles
from gemini_backend.policies.attempts.hedging.race import Race
from gemini_backend.policies.event_stream import close
from gemini_backend.policies.switchable import Switchable
from gemini_backend.policies.wrapper import Wrapper
from gemini_backend.telemetry.events import SILENT, HedgeStarted, HedgeWon

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gemini_backend.call import Call
    from gemini_backend.clock import Clock
    from gemini_backend.policies.attempts.attempt_budget import Attempting
    from gemini_backend.policies.event_stream import EventStream
    from gemini_backend.policies.wrapper import Opens, Whole
    from gemini_backend.telemetry.events import Publisher


class Hedge(Switchable[HedgeOptions], Wrapper):
    """Runs the rest a second time when the first one is slow to begin.

    Whichever yields its first event first goes on; the other is cancelled, and closed before that
    event is handed on. A failure counts once both have failed, or when the first attempt fails
    before it was slow. Second attempts come out of the budget of all attempts, and are at most a
    share of all calls, so that they leave the budget to retries.
    """

    def __init__(
        self,
        options: Callable[[], HedgeOptions],
        clock: Clock,
        bus: Publisher = SILENT,
        budget: Attempting = UNCOUNTED,
    ) -> None:
        """Read the options anew for each call.

        Args:
            options: Gives the options in force.
            clock: Times how slow an attempt is.
            bus: Where second attempts are published.
            budget: What they come out of.
        """
        super().__init__(options)
        self._clock = clock
        self._bus = bus
        self._budget = budget
        self._times = LatencyQuantiles()
        self._share = HedgeShare()
        self.hedged = 0
        self.won = 0

    def unary(self, call: Call, request: Any, proceed: Whole, /) -> Awaitable[Any]:
        """Answer by whichever attempt is first.

        Raises:
            ServiceError: of the attempt that failed first, once both have failed.
        """
        return self._run(call, request, proceed, " whole")

    def stream(self, call: Call, request: Any, proceed: Opens, /) -> Awaitable[EventStream]:
        """Open the stream of whichever attempt is first to begin.

        Raises:
            ServiceError: of the attempt that failed first, once both have failed.
        """
        return self._run(call, request, proceed, "")

    async def _run(self, call: Call, request: Any, proceed: Whole, kind: str) -> Any:
        async def attempt() -> Any:
            return await proceed(call, request)

        race = Race(attempt, close, self._clock)
        try:
            answer = await self._first(race, call, request.model, kind)
        except BaseException:
            await race.end()
            raise
        try:
            await race.end()
        except BaseException:
            await close(answer)
            raise
        return answer

    async def _first(self, race: Race[Any], call: Call, model: str, kind: str) -> Any:
        options = self._options()
        key = model + kind
        start = self._clock.now()
        self._share.call(start)
        delay: float | None = options.delay_ms / 1000
        if not delay:
            delay = self._times.within(key, options.quantile, options.minimum_samples, start)
        result = await race.first(delay, lambda: self._may_start(call, model, options))
        now = self._clock.now()
        self._times.note(key, now - start, now)
        if race.second_won:
            self.won += 1
            self._bus.publish(HedgeWon(call.execution, model))
        return result

    def _may_start(self, call: Call, model: str, options: HedgeOptions) -> bool:
        allowed = self._budget.refusal(call, model) is None and self._share.spend(
            self._clock.now(), options.budget_ratio, _LEAST_PER_SECOND
        )
        if allowed:
            self.hedged += 1
            self._bus.publish(HedgeStarted(call.execution, model))
        return allowed

    def _shown(self, options: HedgeOptions) -> str:
        after = f"{options.delay_ms:g} ms" if options.delay_ms else f"p{options.quantile * 100:g}"
        return f"after={after}, budget={options.budget_ratio:g}"


# Lets a server with hardly any calls hedge as well.
_LEAST_PER_SECOND = 0.1
