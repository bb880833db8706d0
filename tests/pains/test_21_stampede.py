"""Row 21: a stampede of equal requests paid N times."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict

from gemini.backend.v1 import execute_service_pb2 as pb
from tests.support.layers.inproc import collect
from tests.support.servers.simulator_stack import Stack, text_of

pytestmark = pytest.mark.asyncio(loop_scope="module")
CROWD = 100
COALESCED = pb.CACHE_STATUS_COALESCED
TEXT = " ".join(f"word{number}" for number in range(60))
CITY = {"type": "object", "properties": {"city": {"type": "string"}}}
DECLARATION = {"name": "look", "parameters_json_schema": CITY}

# Nothing of what may be asked makes a stampede dear: not only what a cache would keep.
REQUESTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "cold": {"generation_config": {"temperature": 0}},
    "warm": {"generation_config": {"temperature": 1.5, "top_k": 40}},
    "two_candidates": {"generation_config": {"candidate_count": 2}},
    "thinking": {"generation_config": {"thinking_config": {"include_thoughts": True}}},
    "tools": {"tools": [{"function_declarations": [DECLARATION]}]},
    "search": {"tools": [{"google_search": {}}]},
    "another_model": {"model": "gemini-3.5-flash-lite"},
    "refresh": {"cache_control": {"mode": "CACHE_MODE_REFRESH"}},
}


async def crowd(one: Stack, requests: list[pb.ExecuteRequest]) -> list[list[Any]]:
    """Ask for all of them at the same time."""
    return await asyncio.gather(*(collect(one.stub.Execute(request)) for request in requests))


@pytest.mark.parametrize("kind", REQUESTS)
async def test_pain_21_one_hundred_equal_streams_are_one_upstream_call(
    shared: Stack, kind: str
) -> None:
    """100 identical concurrent streams make exactly 1 upstream call, whatever they ask for."""
    before = await shared.generated()
    asked = {"prompt": f"[[say: {TEXT}]] {kind}", **REQUESTS[kind]}
    request = ParseDict(asked, pb.ExecuteRequest())
    answers = await crowd(shared, [request] * CROWD)
    assert 1 == await shared.generated() - before
    assert 1 == len({text_of(events) for events in answers})
    assert all(list(range(1, len(e) + 1)) == [x.sequence for x in e] for e in answers)
    assert all(events[-1].HasField("completed") for events in answers)
    assert CROWD - 1 == sum(e[0].started.cache_status == COALESCED for e in answers)
    assert CROWD == len({events[0].execution for events in answers})


async def test_pain_21_what_does_not_change_the_answer_does_not_count(shared: Stack) -> None:
    """Labels and request ids of their own do not make requests different."""
    before = await shared.generated()
    requests = [
        pb.ExecuteRequest(
            prompt=f"[[say: {TEXT}]] labelled",
            labels={"caller": str(number)},
            request_id=f"request-{number}",
        )
        for number in range(CROWD)
    ]
    answers = await crowd(shared, requests)
    assert {TEXT} == {text_of(events) for events in answers}
    assert 1 == await shared.generated() - before


async def test_pain_21_who_comes_late_joins(shared: Stack) -> None:
    """Callers that come while the answer streams are given all of it, at no call of their own."""
    before = await shared.generated()
    request = pb.ExecuteRequest(prompt=f"[[say: {TEXT}]] late")

    async def come(number: int) -> list[Any]:
        await asyncio.sleep(number * 0.02)
        return await collect(shared.stub.Execute(request))

    answers = await asyncio.gather(*(come(number) for number in range(20)))
    assert {TEXT} == {text_of(events) for events in answers}
    assert 1 == await shared.generated() - before


async def test_pain_21_different_requests_stay_apart(shared: Stack) -> None:
    """A hundred different requests are a hundred calls, each with its own answer."""
    before = await shared.generated()
    texts = [f"answer number {number} {TEXT}" for number in range(CROWD)]
    answers = await crowd(shared, [pb.ExecuteRequest(prompt=f"[[say: {text}]]") for text in texts])
    assert texts == [text_of(events) for events in answers]
    assert CROWD == await shared.generated() - before
