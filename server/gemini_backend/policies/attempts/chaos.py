"""Faults on purpose, for drills; innermost, so that the whole real chain has to cope with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gemini_backend.errors import ChaosFault
from gemini_backend.models.names import full_name
from gemini_backend.policies.event_stream import Watch
from gemini_backend.policies.relay import Hook

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from random import Random

    from gemini.backend.v1.execute_service_pb2 import Delta
    from gemini_backend.clock import Clock
    from gemini_backend.config.sections.extension import ChaosRuleOptions
    from gemini_backend.policies.relay import Run


class Chaos(Hook):
    """Strikes attempts by rule and chance; only mounted when `chaos.enabled` says so."""

    def __init__(
        self, rules: Callable[[], tuple[ChaosRuleOptions, ...]], clock: Clock, random: Random
    ) -> None:
        """Read the rules anew for each attempt, draw from `random`, wait on `clock`."""
        self._rules = rules
        self._clock = clock
        self._random = random

    def begin(self, run: Run, /) -> Awaitable[None] | None:
        """Let an attempt pass, unless a rule strikes: now, or in the midst of its answer.

        Raises:
            ChaosFault: a rule struck.
        """
        model = run.request.model
        rules = [rule for rule in self._rules() if self._strikes(rule, model)]
        return self._strike(run, rules) if rules else None

    def _strikes(self, rule: ChaosRuleOptions, model: str) -> bool:
        return _concerns(rule, model) and self._random.random() < rule.probability

    async def _strike(self, run: Run, rules: list[ChaosRuleOptions]) -> None:
        """Delay, fail at once, or cut the answer short; what comes behind the last two is void."""
        for rule in rules:
            if rule.fault == "cut" and run.streams:
                run.watch(_Cut(rule.after_events))
                return
            if rule.fault != "latency":
                raise _fault(rule.fault)
            await self._clock.sleep(rule.latency_seconds)

    def __repr__(self) -> str:
        """Name the policy and its rules."""
        return f"Chaos({len(self._rules())} rules)"


class _Cut(Watch):
    """Fails an answer after so many of its events."""

    __slots__ = ("_left",)

    def __init__(self, events: int) -> None:
        self._left = events

    def event(self, _event: Any, _delta: Delta | None, /) -> None:
        if self._left <= 0:
            raise _fault("cut")
        self._left -= 1


def _concerns(rule: ChaosRuleOptions, model: str) -> bool:
    return not rule.model or full_name(rule.model) == model


def _fault(kind: str) -> ChaosFault:
    return ChaosFault(f"a drill is in progress: chaos rule '{kind}' affected this attempt; retry")
