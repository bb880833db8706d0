"""Bodies of large requests, made in slices.

Covers: upstream/gemini/translation/later.py
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.errors import DeadlinePassed, InvalidRequest
from gemini_backend.upstream.base import EmbedBatch
from gemini_backend.upstream.gemini.requests import embeddings, generate, sliced_body
from tests.support.clock import FakeClock
from tests.support.messages.calls import make_call

MIB = 1024 * 1024
DECLARED = {"name": "f", "parameters": {"type": "object", "properties": {"a": {"type": "string"}}}}

REQUESTS: dict[str, Any] = {
    "a prompt": pb.ExecuteRequest(prompt='é"\n\\' * MIB),
    "turns": pb.ExecuteRequest(
        contents=[
            {"role": "user", "parts": [{"text": "a"}, {"text": "b", "thought": True}]},
            {"role": "model", "parts": [{"function_call": {"name": "f", "args": {"x": [1, {}]}}}]},
        ]
        * 20,
        system_instruction={"parts": [{"text": "s"}]},
    ),
    "media": pb.ExecuteRequest(
        contents=[
            {
                "parts": [
                    {"inline_data": {"mime_type": "image/png", "data": bytes(range(256)) * 8000}},
                    {"text": "x" * (MIB + 1)},
                    {"inline_data": {"mime_type": "image/png", "data": b"ab"}},
                ]
            }
        ]
        * 3
    ),
    "tools and settings": pb.ExecuteRequest(
        prompt="x",
        tools=[{"function_declarations": [DECLARED] * 3}, {"google_search": {}}],
        generation_config={"response_json_schema": {"list_value": {"values": [{}]}}, "seed": 7},
        safety_settings=[{"category": 7, "threshold": 3}],
    ),
    "extra": pb.ExecuteRequest(
        prompt="x",
        extra={"a": {"b": [1, 2.5, None, True, "t" * (MIB + 1)]}, "c": 2**60},
    ),
    "extra as text": pb.ExecuteRequest(prompt="x", extra_json='{"a": 1.50, "b": [ ]}'),
}


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
async def test_the_body_is_the_same_to_the_byte(request_: pb.ExecuteRequest) -> None:
    """A large request is written as a small one would be, and so are the numbers it may round."""
    clock, at_once, in_slices = FakeClock(), list[str](), list[str]()
    expected = generate.generate(request_, at_once)
    assert expected == await sliced_body.generate_body(request_, make_call(clock), clock, in_slices)
    assert at_once == in_slices


@pytest.mark.parametrize("more", [{}, {"cached_content": "cachedContents/c"}])
async def test_a_count_is_asked_for_in_the_same_words(more: dict[str, Any]) -> None:
    """Plain contents as they are, anything beyond them as a whole request."""
    clock = FakeClock()
    request = pb.CountTokensRequest(prompt="x" * 2 * MIB, model="models/m", **more)
    assert generate.count_tokens(request) == await sliced_body.count_tokens_body(
        request, make_call(clock), clock
    )


async def test_contents_are_embedded_in_the_same_words() -> None:
    """Every content with all that goes with it."""
    clock = FakeClock()
    one = pb.EmbedRequest(contents=[{"parts": [{"text": "x" * 2 * MIB}]}], extra={"a": [1]})
    batch = EmbedBatch("models/e", [one] * 3)
    assert embeddings.body(batch) == await sliced_body.embed_body(batch, make_call(clock), clock)


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.ExecuteRequest(prompt="x", extra={"prompt": 1}), "extra"),
        (pb.ExecuteRequest(prompt="x", extra={"a": [float("nan")]}), "extra.a[0]"),
        (
            pb.ExecuteRequest(
                contents=[{"role": "user", "parts": [{"text": "x"}], "extra": {"role": "y"}}]
            ),
            "contents[0].extra",
        ),
    ],
)
async def test_what_cannot_be_written_is_refused_alike(request_: Any, field: str) -> None:
    """The refusal names the same field."""
    clock = FakeClock()
    with pytest.raises(InvalidRequest) as at_once:
        generate.generate(request_)
    with pytest.raises(InvalidRequest) as in_slices:
        await sliced_body.generate_body(request_, make_call(clock), clock, [])
    assert at_once.value.violations == in_slices.value.violations
    assert [field] == [one.field for one in in_slices.value.violations]


async def test_small_requests_of_others_are_written_meanwhile() -> None:
    """What is put off is put off for the large request alone."""
    clock = FakeClock()
    large = pb.ExecuteRequest(prompt="x" * 2 * MIB, extra={"a": {"b": [1]}})
    small = pb.ExecuteRequest(prompt="x", extra={"a": {"b": [1]}})
    expected = generate.generate(large), generate.generate(small)

    async def write_small() -> bytes:
        return generate.generate(small)

    written = await asyncio.gather(
        sliced_body.generate_body(large, make_call(clock), clock, []), write_small()
    )
    assert expected == tuple(written)


async def test_a_deadline_ends_it() -> None:
    """Nothing is written for a caller who has no time left."""
    clock = FakeClock()
    with pytest.raises(DeadlinePassed):
        await sliced_body.generate_body(
            pb.ExecuteRequest(prompt="x"), make_call(clock, deadline=0.0), clock, []
        )
