"""Row 6: retries skipped streams, and errors that come inside of a stream with status 200."""

from __future__ import annotations

import asyncio
from typing import Any

from gemini.backend.v1 import error_details_pb2 as details
from gemini.backend.v1 import execute_service_pb2 as pb
from tests.support.layers.inproc import collect
from tests.support.servers.simulator_stack import Stack, stack, text_of

# Wherever it shows that there will be no answer: in the status, in the body, inside of a 200.
BEFORE_THE_FIRST_DELTA: tuple[dict[str, Any], ...] = (
    {"fault": "overloaded"},
    {"fault": "internal"},
    {"fault": "deadline"},
    {"fault": "rate_limit_bare"},
    {"fault": "html", "code": 502},
    {"fault": "html", "code": 200},
    {"fault": "reset"},
    {"fault": "reset", "after": 0},
    {"fault": "cut", "after": 0},
    {"fault": "cut_inside", "after": 0},
    {"fault": "garbage", "after": 0},
    {"fault": "stream_error", "after": 0, "form": "event"},
    {"fault": "stream_error", "after": 0, "form": "raw"},
    {"fault": "stream_error", "after": 0, "code": 429, "status": "RESOURCE_EXHAUSTED"},
    {"fault": "empty", "kind": "no_candidates"},
    {"fault": "empty", "kind": "no_content"},
    {"fault": "empty", "kind": "no_parts"},
    {"fault": "empty", "kind": "empty_text"},
)
# A whole answer has no events for a fault to stand between.
OF_STREAMS_ONLY = {"stream_error"}
# A connection that was in use before may be lost without an attempt of its own: another one is
# opened, as for one that upstream closed while it was idle.
RESET = {"fault": "reset"}
SUCCEEDED, FAILED = details.ATTEMPT_OUTCOME_SUCCEEDED, details.ATTEMPT_OUTCOME_FAILED


async def test_pain_06_any_failure_before_the_first_delta_is_retried() -> None:
    """Streams and whole answers: whatever fails once is made again, and nobody notices."""
    settings = {
        "RETRY__INITIAL_DELAY_MS": "20",
        "RETRY__BUDGET_RATIO": "10",
        "BREAKER__ENABLED": "false",  # all calls fail at first here, which no model survives
    }
    async with stack(**settings) as one:
        rules = [
            {"match": {"prompt": f"{kind}{number}.", "first": 1}, "fault": fault}
            for kind in ("stream", "whole")
            for number, fault in enumerate(BEFORE_THE_FIRST_DELTA)
        ]
        await one.script(*rules)
        await asyncio.gather(
            *(streamed(one, number) for number in range(len(BEFORE_THE_FIRST_DELTA))),
            *(
                at_once(one, number)
                for number, fault in enumerate(BEFORE_THE_FIRST_DELTA)
                if fault["fault"] not in OF_STREAMS_ONLY
            ),
        )


async def streamed(one: Stack, number: int) -> None:
    """Ask for a stream that fails once."""
    prompt = f"[[say: the answer of stream {number}]] stream{number}."
    events = await collect(one.stub.Execute(pb.ExecuteRequest(prompt=prompt)))
    assert f"the answer of stream {number}" == text_of(events), BEFORE_THE_FIRST_DELTA[number]
    assert list(range(1, len(events) + 1)) == [event.sequence for event in events]
    await tried_twice(one, number, f"stream{number}.", events[-1].completed.attempts)


async def at_once(one: Stack, number: int) -> None:
    """Ask for a whole answer that fails once."""
    prompt = f"[[say: the answer of whole {number}]] whole{number}."
    whole = await one.stub.Process(pb.ProcessRequest(prompt=prompt))
    assert f"the answer of whole {number}" == whole.candidates[0].content.parts[0].text
    await tried_twice(one, number, f"whole{number}.", whole.attempts)


async def tried_twice(one: Stack, number: int, prompt: str, attempts: Any) -> None:
    """Check that upstream was asked twice, and that the caller is told so."""
    fault = BEFORE_THE_FIRST_DELTA[number]
    assert 2 == len(await one.arrivals(prompt)), fault
    told = [attempt.outcome for attempt in attempts]
    assert told == [FAILED, SUCCEEDED] or (told == [SUCCEEDED] and fault == RESET), fault
