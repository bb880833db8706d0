"""Row 5: what upstream says of its wait was ignored; a throttle of seconds locked out for a day."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.upstream.gemini.failure.quota_refusal import until_midnight_pacific
from tests.support.layers.inproc import collect
from tests.support.messages.failures import Failure, failure_of
from tests.support.servers.simulator_stack import Stack, stack, text_of

EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED
# How much later than asked an attempt may come on a busy machine, in seconds.
SLACK = 0.3


def throttled(prompt: str, fault: str, seconds: float, first: int = 1) -> dict[str, Any]:
    """Return the rule that the first requests with this prompt are refused, with this delay."""
    match = {"prompt": prompt, "first": first}
    return {"match": match, "fault": {"fault": fault, "seconds": seconds}}


def seconds_in(failed: Failure) -> float:
    """Return after how long the caller is told to come back."""
    delay = failed.detail(RetryInfo).retry_delay
    return float(delay.seconds + delay.nanos / 1e9)


@pytest.mark.parametrize("whole", [False, True])
async def test_pain_05_the_delay_is_honoured_to_the_fraction(whole: bool) -> None:
    """A throttled call is made again after exactly the time that upstream names, not its own."""
    async with stack() as one:
        await one.script(throttled("fraction", "rate_limit", 0.737))
        request = {"prompt": "[[say: here it is]] fraction"}
        if whole:
            answer = await one.stub.Process(pb.ProcessRequest(**request))
            text = answer.candidates[0].content.parts[0].text
        else:
            text = text_of(await collect(one.stub.Execute(pb.ExecuteRequest(**request))))
        first, second = await one.arrivals("fraction")
    assert "here it is" == text
    assert 0.737 <= second - first < 0.737 + SLACK


async def test_pain_05_a_minute_is_no_day_and_a_day_no_minute() -> None:
    """By the quota's id: one by the minute comes back soon, one by the day at midnight Pacific."""
    async with stack() as one:
        await one.script(
            throttled("by the minute", "rate_limit", 39.123456789),
            throttled("by the day", "rate_limit_day", 0.2),
        )
        began = time.monotonic()
        minute = await refused(one, "by the minute", model="gemini-3.5-flash")
        assert (EXHAUSTED, "UPSTREAM_THROTTLED") == (minute.code, minute.reason)
        assert pytest.approx(39.123456789) == seconds_in(minute)

        day = await refused(one, "by the day", model="gemini-3.8-flash")
        assert (EXHAUSTED, "UPSTREAM_QUOTA_EXHAUSTED") == (day.code, day.reason)
        midnight = until_midnight_pacific(datetime.now(UTC))
        assert pytest.approx(midnight, abs=5) == seconds_in(day)
        assert time.monotonic() - began < 2

        # neither was asked in vain a second time, nor is it while it is known to be spent
        again = await refused(one, "by the day", model="gemini-3.8-flash")
        assert "POLICY_QUOTA_EXHAUSTED" == again.reason
        assert pytest.approx(midnight, abs=5) == seconds_in(again)
        assert [1, 1] == [len(await one.arrivals(f"by the {kind}")) for kind in ("minute", "day")]

        # another model has a quota of its own
        other = pb.ExecuteRequest(prompt="[[say: fine]] other", model="gemini-3.5-flash-lite")
        assert "fine" == text_of(await collect(one.stub.Execute(other)))


async def refused(one: Stack, prompt: str, model: str) -> Failure:
    """Ask with two seconds of time; return the refusal."""
    request = pb.ExecuteRequest(prompt=prompt, model=model)
    return await failure_of(collect(one.stub.Execute(request, timeout=2)))
