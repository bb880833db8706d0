"""Policies that their options switch off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gemini_backend.policies.base import opened
from gemini_backend.policies.switchable import Switchable
from tests.support.layers.inproc import collect
from tests.support.messages.calls import make_call

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gemini_backend.call import Call
    from tests.support.clock import FakeClock


@dataclass
class Options:
    """Options of a policy that puts a word before what it is told."""

    enabled: bool
    word: str = "on"


class Wordy(Switchable[Options]):
    """Puts its word before every answer and event."""

    async def _unary(self, call: Call, request: Any, proceed: Any, options: Options) -> Any:
        return f"{options.word} {await proceed(call, request)}"

    async def _stream(
        self, call: Call, request: Any, proceed: Any, options: Options
    ) -> AsyncIterator[Any]:
        async with opened(proceed(call, request)) as events:
            async for event in events:
                yield f"{options.word} {event}"

    def _shown(self, options: Options) -> str:
        return f"word={options.word}"


async def answer(_call: Call, request: Any) -> Any:
    return request


async def twice(_call: Call, request: Any) -> AsyncIterator[Any]:
    yield request
    yield request


async def test_what_is_off_adds_nothing(clock: FakeClock) -> None:
    """A call that begins while the policy is off is that of the rest, for both kinds of answer."""
    options = Options(enabled=False)
    policy, call = Wordy(lambda: options), make_call(clock)
    assert "x" == await policy.unary(call, "x", answer)
    assert ["x", "x"] == await collect(policy.stream(call, "x", twice))
    options.enabled = True
    assert "on x" == await policy.unary(call, "x", answer)
    assert ["on x", "on x"] == await collect(policy.stream(call, "x", twice))


async def test_a_call_keeps_the_options_that_it_began_with(clock: FakeClock) -> None:
    """What is switched off while a call is under way stays on to its end."""
    options = [Options(enabled=True)]
    policy, call = Wordy(lambda: options[0]), make_call(clock)
    events = policy.stream(call, "x", twice)
    assert "on x" == await anext(events)
    options[0] = Options(enabled=False)
    assert ["on x"] == [event async for event in events]


def test_a_policy_says_what_it_does() -> None:
    """It names itself with its options, or says that it is off."""
    policies = (Wordy(lambda: Options(enabled=True)), Wordy(lambda: Options(enabled=False)))
    assert ["Wordy(word=on)", "Wordy(off)"] == [repr(policy) for policy in policies]
