"""Faults that no retry cures: each ends typed, in bounded time, after the attempts it is worth."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from bench.judging.verdicts import Verdict
from gemini.backend.v1 import execute_service_pb2 as pb
from tests.support.servers.judged_executions import saying, streamed, told, whole
from tests.support.servers.simulator_stack import stack

if TYPE_CHECKING:
    from tests.support.servers.simulator_stack import Stack

ATTEMPTS = 3
TEXT = told(1)
SETTINGS = {
    "RETRY__INITIAL_DELAY_MS": "20",
    "EXECUTION__FIRST_TOKEN_TIMEOUT_SECONDS": "1",
    "EXECUTION__IDLE_TIMEOUT_SECONDS": "0.5",
    "RETRY__MAX_ATTEMPTS": str(ATTEMPTS),
    "RETRY__BUDGET_RESERVE": "1000",
    "BREAKER__ENABLED": "false",
    "QUOTA__ENABLED": "false",
}
# What is struck at every attempt -> reason, and how many attempts that is worth.
BEFORE: dict[str, tuple[str, int]] = {
    "error code=500": ("UPSTREAM_UNAVAILABLE", ATTEMPTS),
    "error code=502": ("UPSTREAM_UNAVAILABLE", ATTEMPTS),
    "overloaded": ("UPSTREAM_UNAVAILABLE", ATTEMPTS),
    "deadline": ("UPSTREAM_TIMED_OUT", ATTEMPTS),
    "cancelled": ("UPSTREAM_CANCELLED", ATTEMPTS),
    "rate_limit_bare": ("UPSTREAM_THROTTLED", ATTEMPTS),
    "rate_limit_help": ("UPSTREAM_THROTTLED", ATTEMPTS),
    "rate_limit seconds=0.1": ("UPSTREAM_THROTTLED", ATTEMPTS),
    "rate_limit seconds=500": ("UPSTREAM_THROTTLED", 1),
    "rate_limit_day": ("UPSTREAM_QUOTA_EXHAUSTED", 1),
    "html code=200": ("UPSTREAM_MALFORMED_ANSWER", ATTEMPTS),
    "html code=503": ("UPSTREAM_UNAVAILABLE", ATTEMPTS),
    "reset": ("UPSTREAM_UNREACHABLE", ATTEMPTS),
    "garbage after=0": ("UPSTREAM_MALFORMED_ANSWER", ATTEMPTS),
    "empty kind=no_candidates": ("UPSTREAM_EMPTY_ANSWER", ATTEMPTS),
    "empty kind=empty_text": ("UPSTREAM_EMPTY_ANSWER", ATTEMPTS),
    "blocked": ("UPSTREAM_PROMPT_BLOCKED", 1),
    "finish reason=SAFETY": ("UPSTREAM_ANSWER_BLOCKED", 1),
    "finish reason=MALFORMED_FUNCTION_CALL": ("UPSTREAM_ANSWER_BLOCKED", 1),
    "invalid_argument": ("CALLER_REFUSED_BY_MODEL_API", 1),
    "location": ("UPSTREAM_PROJECT_REFUSED", 1),
    "service_disabled": ("UPSTREAM_PROJECT_REFUSED", 1),
    "api_key_invalid": ("UPSTREAM_KEY_REFUSED", 1),
}
BEFORE_STREAMS: dict[str, tuple[str, int]] = {
    "stream_error after=0": ("UPSTREAM_UNAVAILABLE", ATTEMPTS),
    "stream_error after=0 form=raw": ("UPSTREAM_UNAVAILABLE", ATTEMPTS),
    "cut after=0": ("UPSTREAM_EMPTY_ANSWER", ATTEMPTS),
    "stall after=0": ("UPSTREAM_FIRST_TOKEN_TIMEOUT", ATTEMPTS),
    "first_byte_delay seconds=5": ("UPSTREAM_FIRST_TOKEN_TIMEOUT", ATTEMPTS),
}
IN_THE_MIDDLE = {
    "cut after=2": "UPSTREAM_STREAM_CUT",
    "cut_inside after=2": "UPSTREAM_STREAM_CUT",
    "reset after=2": "UPSTREAM_STREAM_CUT",
    "garbage after=2": "UPSTREAM_MALFORMED_ANSWER",
    "stream_error after=2": "UPSTREAM_UNAVAILABLE",
    "stream_error after=2 form=raw": "UPSTREAM_UNAVAILABLE",
    "stall after=2": "UPSTREAM_IDLE_TIMEOUT",
}
# A whole answer has one body: broken anywhere, it may be had anew.
OF_WHOLE = {
    "cut": ("UPSTREAM_STREAM_CUT", ATTEMPTS),
    "reset after=1": ("UPSTREAM_STREAM_CUT", ATTEMPTS),
    "stall": ("UPSTREAM_IDLE_TIMEOUT", ATTEMPTS),
}
# What changes the bytes and not what they say.
HARMLESS = (
    "split bytes=1",
    "line_feeds",
    "multi_line",
    "comments",
    "gzip",
    "unknown_fields",
    "chunk_delay seconds=0.02",
    "first_byte_delay seconds=0.3",
)


async def test_each_of_them() -> None:
    """Reason, attempts and what was delivered are as the fault has it; nothing takes long."""
    async with stack("--chunk-delay", "0.01", **SETTINGS) as one:
        began = time.monotonic()
        await asyncio.gather(
            *(refused(one, streamed, f, e) for f, e in (BEFORE | BEFORE_STREAMS).items()),
            *(refused(one, whole, fault, expected) for fault, expected in BEFORE.items()),
            *(refused(one, whole, fault, expected) for fault, expected in OF_WHOLE.items()),
            *(broken_off(one, fault, reason) for fault, reason in IN_THE_MIDDLE.items()),
            *(unharmed(one, ask, fault) for ask in (streamed, whole) for fault in HARMLESS),
        )
        assert time.monotonic() - began < 10


def struck(fault: str, ask: Any) -> pb.ExecuteRequest:
    """Return a request of its own whose every attempt meets the fault."""
    return pb.ExecuteRequest(prompt=f"{saying(TEXT)} [[fault: {fault}]] {ask.__name__} {fault}.")


async def refused(one: Stack, ask: Any, fault: str, expected: tuple[str, int]) -> None:
    """Check that nothing was delivered, why, and after how many attempts."""
    judged = await ask(one.stub, struck(fault, ask), TEXT)
    reason, attempts = expected
    assert (Verdict.REFUSED, reason) == (judged.verdict, judged.reason), (fault, judged)
    arrived = len(await one.arrivals(f"{ask.__name__} {fault}."))
    # a connection that was in use before may be lost without an attempt of its own
    most = 2 * attempts if fault == "reset" else attempts
    assert attempts <= arrived <= most, (fault, arrived)


async def broken_off(one: Stack, fault: str, reason: str) -> None:
    """Check that a beginning was delivered, once, and that the status says so."""
    judged = await streamed(one.stub, struck(fault, streamed), TEXT)
    assert (Verdict.BROKEN_OFF, reason) == (judged.verdict, judged.reason), (fault, judged)
    assert 1 == len(await one.arrivals(f"streamed {fault}.")), fault


async def unharmed(one: Stack, ask: Any, fault: str) -> None:
    """Check that the answer came whole, at the first attempt."""
    judged = await ask(one.stub, struck(fault, ask), TEXT)
    assert Verdict.RIGHT == judged.verdict, (fault, judged)
    assert 1 == len(await one.arrivals(f"{ask.__name__} {fault}.")), fault


@pytest.mark.parametrize("limit", [{"requests_per_minute": 40}, {"tokens_per_minute": 2400}])
async def test_a_quota_that_is_really_kept(limit: dict[str, int]) -> None:
    """Beyond a real quota calls wait or are told when to come back; upstream is not hammered."""
    async with stack(QUOTA__MAX_WAIT_SECONDS="3") as one:
        await one.script(limits=[limit])

        async def ask(number: int) -> Any:
            text = told(number, 2)
            request = pb.ExecuteRequest(prompt=f"{saying(text)} within quota")
            return await streamed(one.stub, request, text)

        judged = await asyncio.gather(*(ask(number) for number in range(100)))
        calls = await one.generated()
    kinds = {one.verdict for one in judged}
    assert kinds <= {Verdict.RIGHT, Verdict.REFUSED}
    reasons = {one.reason for one in judged if one.verdict is Verdict.REFUSED}
    assert reasons <= {"POLICY_QUOTA_EXHAUSTED", "UPSTREAM_THROTTLED"}
    right = sum(one.verdict is Verdict.RIGHT for one in judged)
    assert 35 <= right < 100
    # all of the first hundred may be on their way before the first refusal; none comes back
    assert calls <= 100 + 15
