"""Row 4: a tool's JSON Schema with `$ref`, unions or `additionalProperties` broke the request."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Value

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import execute_service_pb2_grpc as rpc
from gemini.backend.v1.content_pb2 import FunctionDeclaration, GenerationConfig, Tool
from tests.support.servers.conversations import Answerer, answering
from tests.support.servers.process import serving, upstream_at
from tests.support.servers.simulator_stack import stack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TREE: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$defs": {
        "zeta": {"type": "string", "format": "date-time", "const": "2026-11-23T00:00:00Z"},
        "node": {
            "type": "object",
            "properties": {
                "value": {
                    "anyOf": [{"type": "integer"}, {"$ref": "#/$defs/zeta"}, {"type": "null"}]
                },
                "next": {"$ref": "#/$defs/node"},
                "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
            },
            "required": ["value"],
            "additionalProperties": False,
        },
        "alpha": {"$ref": "#/$defs/beta"},
        "beta": {"$ref": "#/$defs/alpha"},
    },
    "type": "object",
    "properties": {
        "root": {"$ref": "#/$defs/node"},
        "either": {"oneOf": [{"type": "string"}, {"type": ["number", "null"]}]},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "all": {"allOf": [{"minLength": 1}, {"not": {"const": ""}}]},
        "a": {"exclusiveMinimum": 0, "multipleOf": 0.5, "default": 1e-9},
        "\u00fcml\u00e4ut\u2028": {"enum": ["\U0001f600", None, 1.0]},
    },
    "patternProperties": {"^x-": True},
    "unevaluatedProperties": False,
    "required": ["root"],
}


@asynccontextmanager
async def answered() -> AsyncIterator[tuple[Answerer, Any]]:
    """Run a model API that keeps what it is asked, and a server in front of it."""
    async with (
        answering() as api,
        serving(upstream_at(api.url)) as server,
        grpc.aio.insecure_channel(server.grpc) as channel,
    ):
        yield api, rpc.ExecuteServiceStub(channel)


def tool_with(**fields: Any) -> list[Tool]:
    return [Tool(function_declarations=[FunctionDeclaration(name="plant", **fields)])]


def as_value(schema: Any) -> Value:
    return ParseDict(schema, Value())


@pytest.mark.parametrize("whole", [False, True])
async def test_pain_04_schemas_go_upstream_unchanged(whole: bool) -> None:
    """Cycles, unions, additionalProperties: as an object every member, as a text every letter."""
    text = json.dumps(TREE)
    async with answered() as (api, stub):
        for fields in (
            {"parameters_json_schema_text": text},
            {"parameters_json_schema": as_value(TREE)},
        ):
            request = pb.ExecuteRequest(prompt="x", tools=tool_with(**fields))
            await ask(stub, request, whole=whole)
            (declared,) = api.asked[-1]["tools"][0]["functionDeclarations"]
            assert {"name": "plant", "parametersJsonSchema": TREE} == declared
            if "parameters_json_schema_text" in fields:
                assert text == json.dumps(declared["parametersJsonSchema"])  # in the same order


@pytest.mark.parametrize("whole", [False, True])
async def test_pain_04_so_do_those_of_answers(whole: bool) -> None:
    """The shape of the answer, too, is handed on as it is."""
    text = json.dumps(TREE)
    async with answered() as (api, stub):
        for fields in (
            {"response_json_schema_text": text},
            {"response_json_schema": as_value(TREE)},
        ):
            config = GenerationConfig(response_mime_type="application/json", **fields)  # type: ignore[arg-type]
            request = pb.ExecuteRequest(prompt="x", generation_config=config)
            await ask(stub, request, whole=whole)
            assert TREE == api.asked[-1]["generationConfig"]["responseJsonSchema"]


async def test_pain_04_the_tool_is_called() -> None:
    """With such a schema the model calls the function, and is given its result."""
    async with stack() as one:
        tools = tool_with(parameters_json_schema_text=json.dumps(TREE))
        request = pb.ProcessRequest(prompt="Use plant for a tree", tools=tools)
        answer = await one.stub.Process(request)
        (call,) = [p for p in answer.candidates[0].content.parts if p.HasField("function_call")]
    assert "plant" == call.function_call.name


async def test_pain_04_what_is_no_json_is_refused_by_field() -> None:
    """A text that is no JSON never leaves the house."""
    async with answered() as (api, stub):
        tools = tool_with(parameters_json_schema_text='{"type": ')
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await stub.Process(pb.ProcessRequest(prompt="x", tools=tools))
        assert grpc.StatusCode.INVALID_ARGUMENT == failed.value.code()
        assert "tools[0].function_declarations[0].parameters_json_schema_text" in str(
            failed.value.details()
        )
        assert [] == api.asked


async def ask(stub: Any, request: pb.ExecuteRequest, *, whole: bool) -> None:
    """Ask for a stream, or for a whole answer."""
    if whole:
        await stub.Process(pb.ProcessRequest.FromString(request.SerializeToString()))
    else:
        async for _ in stub.Execute(request):
            pass
