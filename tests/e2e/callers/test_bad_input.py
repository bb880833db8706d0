"""Input that nobody should send: a typed status that names the fix, and the server goes on."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import BadRequest

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import metrics_service_pb2 as metrics_pb
from gemini.backend.v1 import metrics_service_pb2_grpc as metrics_rpc
from tests.support.layers.inproc import collect
from tests.support.messages.failures import Failure, failure_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.asyncio(loop_scope="module")

INVALID, LARGE = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED
EXECUTE = "/gemini.backend.v1.ExecuteService/Execute"
PROCESS = "/gemini.backend.v1.ExecuteService/Process"
HELLO = pb.ExecuteRequest(prompt="hi")


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def serves_afterwards(stub: Any) -> AsyncIterator[None]:
    """After every test of this file the server still answers, on the same connection."""
    yield
    assert (await collect(stub.Execute(HELLO, timeout=10)))[-1].HasField("completed")


def turn(*parts: content.Part, role: str = "user") -> content.Content:
    """Return a turn."""
    return content.Content(role=role, parts=parts)


def config(**fields: Any) -> pb.ExecuteRequest:
    """Return a request with a generation config."""
    return pb.ExecuteRequest(prompt="hi", generation_config=content.GenerationConfig(**fields))


BREAKS_A_RULE = {
    "nothing": (pb.ExecuteRequest(), "one of prompt, contents"),
    "empty prompt": (pb.ExecuteRequest(prompt=""), "one of prompt, contents"),
    "blank prompt": (pb.ExecuteRequest(prompt=" \n\t"), "blank"),
    "prompt and contents": (
        pb.ExecuteRequest(prompt="hi", contents=[turn(content.Part(text="hi"))]),
        "only one of prompt, contents",
    ),
    "a turn without parts": (pb.ExecuteRequest(contents=[turn()]), "contents[0].parts"),
    "role of nobody": (
        pb.ExecuteRequest(contents=[turn(content.Part(text="hi"), role="wizard")]),
        "contents[0].role",
    ),
    "model that is no name": (pb.ExecuteRequest(prompt="hi", model="../secrets?key=1"), "model"),
    "negative tokens": (config(max_output_tokens=-1), "max_output_tokens"),
    "negative candidates": (config(candidate_count=-3), "candidate_count"),
    "hot": (config(temperature=9), "temperature"),
    "not a number": (config(temperature=float("nan")), "temperature"),
    "negative top_p": (config(top_p=-0.5), "top_p"),
    "negative timeout": (
        pb.ExecuteRequest(prompt="hi", idle_timeout=Duration(seconds=-5)),
        "idle_timeout",
    ),
    "negative cost": (pb.ExecuteRequest(prompt="hi", max_cost_nano_usd=-1), "max_cost_nano_usd"),
    "too many turns": (
        pb.ExecuteRequest(contents=[turn(content.Part(text="hi"))] * 5000),
        "contents",
    ),
    "too many labels": (
        pb.ExecuteRequest(prompt="hi", labels={f"label{n}": "x" for n in range(40)}),
        "labels",
    ),
    "request id with a line break": (
        pb.ExecuteRequest(prompt="hi", request_id="a\nb"),
        "request_id",
    ),
}


@pytest.mark.parametrize("case", BREAKS_A_RULE)
async def test_what_breaks_a_rule_is_named(stub: Any, case: str) -> None:
    """INVALID_ARGUMENT, CALLER_INVALID_REQUEST, and a violation that says what and where."""
    request, said = BREAKS_A_RULE[case]
    for failed in (
        await failure_of(collect(stub.Execute(request))),
        await failure_of(stub.Process(pb.ProcessRequest.FromString(request.SerializeToString()))),
    ):
        assert (INVALID, "CALLER_INVALID_REQUEST") == (failed.code, failed.reason)
        assert said in failed.message
        assert failed.detail(BadRequest).field_violations


async def test_all_violations_come_at_once(stub: Any) -> None:
    """Three mistakes are three violations, each with its field."""
    request = config(max_output_tokens=-1, temperature=9)
    request.model = "no/good/name"
    failed = await failure_of(collect(stub.Execute(request)))
    fields = {one.field for one in failed.detail(BadRequest).field_violations}
    assert {
        "model",
        "generation_config.temperature",
        "generation_config.max_output_tokens",
    } == fields


async def test_what_only_the_model_api_refuses_is_typed_too(stub: Any) -> None:
    """A part without data breaks no rule of ours; the model API's refusal comes back as such."""
    failed = await failure_of(
        collect(stub.Execute(pb.ExecuteRequest(contents=[turn(content.Part())])))
    )
    assert (INVALID, "CALLER_REFUSED_BY_MODEL_API") == (failed.code, failed.reason)


async def test_too_long_a_prompt_says_so_and_may_go_elsewhere(stub: Any) -> None:
    """More tokens than a model takes have a reason of their own, and a larger one may answer."""
    request = pb.ExecuteRequest(model="gemma-3-27b-it", prompt="a " * 140_000)
    failed = await failure_of(collect(stub.Execute(request)))
    assert (INVALID, "CALLER_CONTEXT_TOO_LONG") == (failed.code, failed.reason)
    assert "(131072)" in failed.message
    request.fallback.models.append("gemini-3.5-flash")
    request.fallback.conditions.append(pb.FALLBACK_CONDITION_CONTEXT_TOO_LONG)
    events = await collect(stub.Execute(request))
    assert "models/gemini-3.5-flash" == events[0].started.served_model


NO_MESSAGE = {
    "random": b"\xff\xfe\x00garbage\x07",
    "wrong type": b"\x0a\x05",  # a text of five bytes, of which none is there
    "text for a number": b"\x92\x01\x03abc\x90\x01\xff",
    "not UTF-8": b"\x0a\x02\xc3\x28",
    "half a surrogate": b"\x0a\x03\xed\xa0\x80",
    "endless varint": b"\x90\x01" + b"\xff" * 12,
    "nested without end": b"\xf2\x01\x7f" * 50,
}


@pytest.mark.parametrize("case", NO_MESSAGE)
@pytest.mark.parametrize("method", [EXECUTE, PROCESS])
async def test_bytes_that_are_no_message_are_refused(
    channel: grpc.aio.Channel, method: str, case: str
) -> None:
    """INVALID_ARGUMENT and CALLER_MALFORMED_MESSAGE, never a bare INTERNAL."""
    failed = await failure_of(sent(channel, method, NO_MESSAGE[case]))
    assert (INVALID, "CALLER_MALFORMED_MESSAGE") == (failed.code, failed.reason)
    assert "stubs" in failed.message


async def sent(channel: grpc.aio.Channel, method: str, data: bytes) -> Any:
    """Send bytes as they are."""
    if method == EXECUTE:
        return await collect(channel.unary_stream(method)(data, timeout=30))
    return await channel.unary_unary(method)(data, timeout=30)


async def test_the_empty_message_is_read_and_then_refused(channel: grpc.aio.Channel) -> None:
    """No bytes at all are a message, of which the rules say what it lacks."""
    failed = await failure_of(sent(channel, EXECUTE, b""))
    assert "CALLER_INVALID_REQUEST" == failed.reason


async def test_a_nest_of_structs_is_refused(channel: grpc.aio.Channel) -> None:
    """Values nested hundreds deep end in a typed refusal, not in an exhausted stack."""
    data = b""
    for _ in range(300):  # Struct { fields { key "a" value { struct_value ... } } }
        value = b"\x2a" + varint(len(data)) + data
        entry = b"\x0a\x01a\x12" + varint(len(value)) + value
        data = b"\x0a" + varint(len(entry)) + entry
    request = b"\x0a\x02hi\xf2\x01" + varint(len(data)) + data
    failed = await failure_of(sent(channel, PROCESS, request))
    assert "CALLER_MALFORMED_MESSAGE" == failed.reason


def varint(number: int) -> bytes:
    """Return a number as protobuf writes it."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


async def test_a_message_of_100_mb_is_refused_by_size(stub: Any, channel: grpc.aio.Channel) -> None:
    """RESOURCE_EXHAUSTED, CALLER_MESSAGE_TOO_LARGE, with the setting and another way."""
    data = pb.ExecuteRequest(prompt="x" * 100_000_000).SerializeToString()
    for method in (EXECUTE, PROCESS):
        failed = await failure_of(sent(channel, method, data))
        assert (LARGE, "CALLER_MESSAGE_TOO_LARGE") == (failed.code, failed.reason)
        assert "server.max_message_mb" in failed.message


async def test_far_too_large_a_message_is_refused_too(channel: grpc.aio.Channel) -> None:
    """What even gRPC's core will not read is still RESOURCE_EXHAUSTED."""
    failed = await failure_of(sent(channel, PROCESS, b"x" * 300_000_000))
    assert LARGE == failed.code


async def test_ten_thousand_parts_are_taken_or_refused_by_name(stub: Any) -> None:
    """They come through in one piece, or a violation says how many may be."""
    parts = [content.Part(text=f"word{n} ") for n in range(10_000)]
    request = pb.ExecuteRequest(contents=[turn(*parts)])
    try:
        events = await collect(stub.Execute(request, timeout=30))
    except grpc.aio.AioRpcError as error:
        failed = Failure.of(error)
        assert (INVALID, "CALLER_INVALID_REQUEST") == (failed.code, failed.reason)
        assert "parts" in failed.message
    else:
        assert events[-1].completed.usage.prompt_token_count > 10_000


async def test_unknown_model(stub: Any) -> None:
    """NOT_FOUND with the models that are near to it."""
    request = pb.ExecuteRequest(prompt="hi", model="gemini-3.5-flahs")
    for answer in (
        collect(stub.Execute(request)),
        stub.Process(pb.ProcessRequest(prompt="hi", model=request.model)),
    ):
        failed = await failure_of(answer)
        assert (grpc.StatusCode.NOT_FOUND, "CALLER_UNKNOWN_MODEL") == (failed.code, failed.reason)
        assert "gemini-3.5-flahs" in failed.message


@pytest.mark.parametrize("seconds", [-1.0, 0.0, 1e-9])
async def test_a_deadline_that_is_no_time_at_all(stub: Any, seconds: float) -> None:
    """A deadline that is past before anything begins is DEADLINE_EXCEEDED."""
    failed = await failure_of(collect(stub.Execute(HELLO, timeout=seconds)))
    assert grpc.StatusCode.DEADLINE_EXCEEDED == failed.code


async def test_a_deadline_that_passes_upstream(stub: Any) -> None:
    """A deadline that passes while the model is silent is DEADLINE_EXCEEDED for both kinds."""
    slow = "hi [[fault: first_byte_delay seconds=5]]"
    started = asyncio.get_running_loop().time()
    answers = (
        collect(stub.Execute(pb.ExecuteRequest(prompt=slow), timeout=0.3)),
        stub.Process(pb.ProcessRequest(prompt=slow), timeout=0.3),
    )
    for answer in answers:
        assert grpc.StatusCode.DEADLINE_EXCEEDED == (await failure_of(answer)).code
    assert asyncio.get_running_loop().time() - started < 2


async def test_unknown_rpc_and_unknown_service(channel: grpc.aio.Channel) -> None:
    """What is in no contract is UNIMPLEMENTED."""
    for path in ("/gemini.backend.v1.ExecuteService/Fly", "/no.such.Service/Call", "/", "/x"):
        failed = await failure_of(channel.unary_unary(path)(b"", timeout=5))
        assert grpc.StatusCode.UNIMPLEMENTED == failed.code


async def test_a_side_service_refuses_likewise(channel: grpc.aio.Channel) -> None:
    """The rules hold for every service, not for executions only."""
    stub: Any = metrics_rpc.MetricsServiceStub(channel)
    request = metrics_pb.GetPerformanceMetricsRequest(window=Duration(seconds=-1))
    failed = await failure_of(stub.GetPerformanceMetrics(request))
    assert (INVALID, "CALLER_INVALID_REQUEST") == (failed.code, failed.reason)
    assert "window" in failed.message


async def test_a_client_that_speaks_no_grpc(server: Any, stub: Any) -> None:
    """Bytes that are not HTTP/2 close that connection and nothing else."""
    host, port = server.grpc.split(":")
    for rubbish in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", bytes(range(256)) * 64, b"PRI * HTTP/2"):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(rubbish)
        async with asyncio.timeout(10):
            with contextlib.suppress(OSError):  # the server may have hung up already
                writer.write_eof()
                await reader.read()
        writer.close()
        answer = await stub.Process(pb.ProcessRequest(prompt="Say: hi"))
        assert "hi" == answer.candidates[0].content.parts[0].text


async def test_large_metadata_is_refused(stub: Any) -> None:
    """Headers beyond gRPC's bound are refused; the connection serves on."""
    metadata = (("x-large", "y" * 1_000_000),)
    failed = await failure_of(stub.Process(pb.ProcessRequest(prompt="hi"), metadata=metadata))
    assert failed.code in {LARGE, grpc.StatusCode.INTERNAL}
    assert (await stub.Process(pb.ProcessRequest(prompt="hi"))).candidates
