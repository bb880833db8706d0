"""The main job, against the real server and the simulator."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import aiohttp
import grpc
import pytest
from google.protobuf.json_format import ParseDict

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import execute_service_pb2_grpc as rpc
from tests.support.layers.inproc import collect
from tests.support.messages.failures import failure_of
from tests.support.servers.process import serving, upstream_at

if TYPE_CHECKING:
    from tests.support.servers.process import Process

pytestmark = pytest.mark.asyncio(loop_scope="module")

DECLARATION = {
    "name": "get_weather",
    "description": "Weather of a city",
    "parameters_json_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}


def text_of(events: list[pb.ExecuteResponse]) -> str:
    """Return the text of all deltas, thoughts aside."""
    return "".join(part.text for event in events for part in event.delta.parts if not part.thought)


async def test_an_answer_streams_in_order(stub: Any) -> None:
    """Started first, then deltas, then completed; numbered without gaps, one execution."""
    events = await collect(stub.Execute(pb.ExecuteRequest(prompt="Write a haiku about rivers")))
    kinds = [event.WhichOneof("event") for event in events]
    assert ("started", "completed") == (kinds[0], kinds[-1])
    assert {"delta"} == set(kinds[1:-1])
    assert list(range(1, len(events) + 1)) == [event.sequence for event in events]
    assert 1 == len({event.execution for event in events})
    assert text_of(events)


async def test_completed_sums_up(stub: Any) -> None:
    """The last event has the finish reason, usage that adds up, times and the attempt."""
    events = await collect(stub.Execute(pb.ExecuteRequest(prompt="Hello")))
    done = events[-1].completed
    usage = done.usage
    assert content.FINISH_REASON_STOP == done.finish_reason
    assert usage.total_token_count == (
        usage.prompt_token_count
        + usage.candidates_token_count
        + usage.thoughts_token_count
        + usage.tool_use_prompt_token_count
    )
    assert content.USAGE_QUALITY_EXACT == usage.quality
    assert [1] == [attempt.number for attempt in done.attempts]
    assert done.timing.total.ToNanoseconds() >= done.timing.first_token.ToNanoseconds() > 0


async def test_process_answers_at_once(stub: Any) -> None:
    """The whole answer is that of the stream."""
    streamed = text_of(await collect(stub.Execute(pb.ExecuteRequest(prompt="Hello there"))))
    whole = await stub.Process(pb.ProcessRequest(prompt="Hello there"))
    assert streamed == "".join(part.text for part in whole.candidates[0].content.parts)
    assert whole.execution


async def test_tokens_are_counted_upstream(stub: Any) -> None:
    """CountTokens answers with the upstream's number and says so."""
    counted = await stub.CountTokens(pb.CountTokensRequest(prompt="Hello there"))
    assert counted.total_tokens > 0
    assert pb.TOKEN_COUNT_METHOD_UPSTREAM == counted.method


async def test_a_tool_conversation_keeps_its_signatures(stub: Any) -> None:
    """A function call with its signature, sent back with its result, is answered."""
    tools = [ParseDict({"function_declarations": [DECLARATION]}, content.Tool())]
    config = content.ToolConfig(
        function_calling_config=content.FunctionCallingConfig(
            mode=content.FUNCTION_CALLING_MODE_ANY
        )
    )
    user = content.Content(role="user", parts=[content.Part(text="get_weather in Paris")])
    asked = pb.ExecuteRequest(
        model="gemini-3-flash-preview", contents=[user], tools=tools, tool_config=config
    )
    events = await collect(stub.Execute(asked))
    parts = [part for event in events for part in event.delta.parts]
    (call,) = [part.function_call for part in parts if part.HasField("function_call")]
    assert "get_weather" == call.name
    assert any(part.thought_signature for part in parts)

    result = content.Part(function_response=content.FunctionResponse(id=call.id, name=call.name))
    result.function_response.response.update({"output": "sunny"})
    answered = pb.ExecuteRequest(
        model="gemini-3-flash-preview",
        contents=[
            user,
            content.Content(role="model", parts=parts),
            content.Content(role="user", parts=[result]),
        ],
        tools=tools,
    )
    assert "sunny" in text_of(await collect(stub.Execute(answered)))

    for part in parts:
        part.ClearField("thought_signature")
    answered.contents[1].CopyFrom(content.Content(role="model", parts=parts))
    refused = await failure_of(collect(stub.Execute(answered)))
    assert "CALLER_REFUSED_BY_MODEL_API" == refused.reason


async def test_json_mode_holds_to_the_schema(stub: Any) -> None:
    """An answer in JSON mode has the shape that was asked for."""
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string"}, "people": {"type": "integer"}},
        "required": ["city", "people"],
    }
    config = content.GenerationConfig(response_mime_type="application/json")
    ParseDict(schema, config.response_json_schema)
    request = pb.ExecuteRequest(prompt="A city", generation_config=config)
    events = await collect(stub.Execute(request))
    assert {"city", "people"} == set(json.loads(text_of(events)))


async def test_thoughts_are_told_apart(stub: Any) -> None:
    """Thoughts come as parts of their own when asked for, with their tokens."""
    config = content.GenerationConfig(thinking_config=content.ThinkingConfig(include_thoughts=True))
    request = pb.ExecuteRequest(
        model="gemini-3-flash-preview", prompt="Think hard", generation_config=config
    )
    events = await collect(stub.Execute(request))
    assert any(part.thought for event in events for part in event.delta.parts)
    assert events[-1].completed.usage.thoughts_token_count > 0


async def test_grounding_arrives_typed(stub: Any) -> None:
    """Sources come with the answer that rests on them."""
    request = pb.ExecuteRequest(
        prompt="What is in the news today?", tools=[content.Tool(google_search={})]
    )
    events = await collect(stub.Execute(request))
    chunks = [c for e in events for c in e.delta.grounding_metadata.grounding_chunks]
    assert all(chunk.web.uri for chunk in chunks)
    assert chunks


async def test_several_candidates_stay_apart(stub: Any) -> None:
    """Each candidate's pieces carry its index."""
    request = pb.ExecuteRequest(
        prompt="Hello", generation_config=content.GenerationConfig(candidate_count=2)
    )
    events = await collect(stub.Execute(request))
    assert {0, 1} == {e.delta.candidate_index for e in events if e.HasField("delta")}


async def test_images_and_safety_settings_are_taken(stub: Any) -> None:
    """Inline media and safety settings reach the model API in a form that it takes."""
    request = pb.ExecuteRequest(
        contents=[
            content.Content(
                role="user",
                parts=[
                    content.Part(inline_data=content.Blob(mime_type="image/png", data=b"\x89PNG")),
                    content.Part(text="What is this?"),
                ],
            )
        ],
        safety_settings=[
            content.SafetySetting(
                category=content.HARM_CATEGORY_HARASSMENT,
                threshold=content.HARM_BLOCK_THRESHOLD_BLOCK_ONLY_HIGH,
            )
        ],
    )
    assert text_of(await collect(stub.Execute(request)))


@pytest.mark.parametrize(
    ("directive", "code", "reason"),
    [
        ("overloaded", grpc.StatusCode.UNAVAILABLE, "UPSTREAM_UNAVAILABLE"),
        ("internal", grpc.StatusCode.UNAVAILABLE, "UPSTREAM_UNAVAILABLE"),
        ("rate_limit", grpc.StatusCode.RESOURCE_EXHAUSTED, "UPSTREAM_THROTTLED"),
        ("rate_limit_day", grpc.StatusCode.RESOURCE_EXHAUSTED, "UPSTREAM_QUOTA_EXHAUSTED"),
        ("api_key_invalid", grpc.StatusCode.FAILED_PRECONDITION, "UPSTREAM_KEY_REFUSED"),
        ("service_disabled", grpc.StatusCode.FAILED_PRECONDITION, "UPSTREAM_PROJECT_REFUSED"),
        ("location", grpc.StatusCode.FAILED_PRECONDITION, "UPSTREAM_PROJECT_REFUSED"),
        ("invalid_argument", grpc.StatusCode.INVALID_ARGUMENT, "CALLER_REFUSED_BY_MODEL_API"),
        ("html", grpc.StatusCode.UNAVAILABLE, "UPSTREAM_UNAVAILABLE"),
        ("deadline", grpc.StatusCode.DEADLINE_EXCEEDED, "UPSTREAM_TIMED_OUT"),
        ("cancelled", grpc.StatusCode.CANCELLED, "UPSTREAM_CANCELLED"),
        ("cut", grpc.StatusCode.UNAVAILABLE, "UPSTREAM_STREAM_CUT"),
        ("reset", grpc.StatusCode.UNAVAILABLE, "UPSTREAM_UNREACHABLE"),
        ("stream_error", grpc.StatusCode.UNAVAILABLE, "UPSTREAM_UNAVAILABLE"),
        ("stream_error form=raw", grpc.StatusCode.UNAVAILABLE, "UPSTREAM_UNAVAILABLE"),
        ("garbage", grpc.StatusCode.INTERNAL, "UPSTREAM_MALFORMED_ANSWER"),
        ("blocked", grpc.StatusCode.FAILED_PRECONDITION, "UPSTREAM_PROMPT_BLOCKED"),
        ("empty", grpc.StatusCode.UNAVAILABLE, "UPSTREAM_EMPTY_ANSWER"),
        ("finish", grpc.StatusCode.FAILED_PRECONDITION, "UPSTREAM_ANSWER_BLOCKED"),
    ],
)
async def test_each_refusal_has_its_reason(
    stub: Any, directive: str, code: grpc.StatusCode, reason: str
) -> None:
    """What the model API refuses comes back typed."""
    request = pb.ExecuteRequest(prompt=f"hi [[fault: {directive}]]")
    failed = await failure_of(collect(stub.Execute(request)))
    assert (code, reason) == (failed.code, failed.reason)


async def test_metrics_and_probes_answer_over_http(server: Process, stub: Any) -> None:
    """The web port has Prometheus text that counts executions, and both probes."""
    await collect(stub.Execute(pb.ExecuteRequest(prompt="Hello")))
    async with aiohttp.ClientSession(server.web) as session:
        async with session.get("/metrics") as answer:
            text = await answer.text()
        statuses = []
        for path in ("/healthz", "/readyz"):
            async with session.get(path) as answer:
                statuses.append(answer.status)
    assert "gemini_backend_executions_total" in text
    assert [200, 200] == statuses


async def test_the_key_shows_nowhere(simulator: Process) -> None:
    """Neither log, nor errors, nor metrics hold the upstream's key."""
    request = pb.ExecuteRequest(prompt="hi [[fault: api_key_invalid]]")
    async with serving(upstream_at(simulator.http)) as server:
        async with grpc.aio.insecure_channel(server.grpc) as channel:
            failed = await failure_of(collect(rpc.ExecuteServiceStub(channel).Execute(request)))
        async with aiohttp.ClientSession(server.web) as session, session.get("/metrics") as answer:
            metrics = await answer.text()
        await server.stop()
    for where in (str(failed.status), metrics, server.log()):
        assert "test-key" not in where
