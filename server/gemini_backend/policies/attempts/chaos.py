"""Faults on purpose, for drills; innermost, so that the whole real chain has to cope with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gemini_backend.errors import ChaosFault
from gemini_backend.models.names import full_name
from gemini_backend.policies.base import opened

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from random import Random

    from gemini_backend.call import Call
    from gemini_backend.clock import Clock
    from gemini_backend.config.sections.extension import ChaosRuleOptions
    from gemini_backend.policies.base import Stream, Unary


class Chaos:
    """Strikes attempts by rule and chance; only mounted when `chaos.enabled` says so."""

    def __init__(
        self, rules: Callable[[], tuple[ChaosRuleOptions, ...]], clock: Clock, random: Random
    ) -> None:
        """Read the rules anew for each attempt, draw from `random`, wait on `clock`."""
        self._rules = rules
        self._clock = clock
        self._random = random

    async def unary(self, call: Call, request: Any, proceed: Unary[Any, Any], /) -> Any:
        """Answer, unless a rule strikes.

        Raises:
            ChaosFault: a rule struck.
        """
        if await self._strike(request) is not None:
            raise _fault("cut")
        return await proceed(call, request)

    async def stream(
        self, call: Call, request: Any, proceed: Stream[Any, Any], /
    ) -> AsyncIterator[Any]:
        """Hand events on, unless a rule strikes.

        Raises:
            ChaosFault: a rule struck.
        """
        cut = await self._strike(request)
        count = 0
        async with opened(proceed(call, request)) as events:
            async for event in events:
                if cut is not None and count >= cut.after_events:
                    raise _fault("cut")
                count += 1
                yield event

    async def _strike(self, request: Any) -> ChaosRuleOptions | None:
        """Delay or fail at once; return the rule that cuts this attempt short, if one does."""
        for rule in self._rules():
            if not _concerns(rule, request.model) or self._random.random() >= rule.probability:
                continue
            if rule.fault == "cut":
                return rule
            if rule.fault == "error":
                raise _fault("error")
            await self._clock.sleep(rule.latency_seconds)
        return None

    def __repr__(self) -> str:
        """Name the policy and its rules."""
        return f"Chaos({len(self._rules())} rules)"


def _concerns(rule: ChaosRuleOptions, model: str) -> bool:
    return not rule.model or full_name(rule.model) == model


def _fault(kind: str) -> ChaosFault:
    return ChaosFault(f"a drill is in progress: chaos rule '{kind}' affected this attempt; retry")
