"""Policies stand round a handler of ours, and round any other, alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gemini_backend.call import CURRENT, Call, FixedBudget, current_call
from gemini_backend.policies.pipeline import Pipeline
from gemini_backend.policies.relay import Hook
from gemini_backend.rpc.interceptors.base import served_by, serving
from gemini_backend.rpc.interceptors.policy import PolicyInterceptor
from tests.support.layers.inproc import FakeContext, collect
from tests.support.messages.calls import EXECUTE, PROCESS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gemini_backend.policies.relay import Run

CALL = Call(PROCESS, "executions/1", 0.0)
NARROW = FixedBudget(7.0)


class Narrowing(Hook):
    """Hands on a narrowed call and another request."""

    def begin(self, run: Run, /) -> None:
        run.call = run.call.narrowed(budget=NARROW)
        run.request = f"changed {run.request}"


async def _served(call: Call, request: Any) -> Any:
    return request, call.deadline


async def _streamed(call: Call, request: Any) -> AsyncIterator[Any]:
    yield request
    yield call.deadline


def handlers(*, ours: bool) -> tuple[Any, Any]:
    """Return what answers once, and what streams: like handlers of ours, or of anybody else's."""

    async def answer(request: Any, _context: Any) -> Any:
        return await _served(current_call(), request)

    async def stream(request: Any, _context: Any) -> AsyncIterator[Any]:
        async for event in _streamed(current_call(), request):
            yield event

    return (serving(answer, _served), serving(stream, _streamed)) if ours else (answer, stream)


@pytest.mark.parametrize("ours", [True, False])
async def test_the_handler_is_given_what_the_innermost_policy_hands_on(*, ours: bool) -> None:
    """Whether it takes the call itself, or looks for it where it is published."""
    CURRENT.set(CALL)
    around = PolicyInterceptor(lambda _method: Pipeline(Narrowing()))
    answer, stream = handlers(ours=ours)
    assert ("changed x", 7.0) == await around.unary(PROCESS, answer)("x", FakeContext())
    found = await collect(around.stream(EXECUTE, stream)("x", FakeContext()))
    assert ["changed x", 7.0] == found


async def test_what_is_wrapped_can_be_handed_the_call_in_turn() -> None:
    """The edge then needs neither the published call nor the coroutine between."""
    around = PolicyInterceptor(lambda _method: Pipeline(Narrowing()))
    serves = served_by(around.unary(PROCESS, handlers(ours=True)[0]))
    assert serves is not None
    assert ("changed x", 7.0) == await serves(CALL, "x")


def test_of_other_handlers_nothing_is_known() -> None:
    """They are called as grpc.aio calls them."""
    assert [None, None] == [served_by(handler) for handler in handlers(ours=False)]
