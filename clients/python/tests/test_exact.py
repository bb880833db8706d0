"""Numbers, and the order of keys: what JSON says is neither rounded nor sorted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from clients.python.tests.fake_backend import STARTED, piece, whole
from gemini.backend.v1.content_pb2 import FunctionCall, ToolCall
from gemini.backend.v1.execute_service_pb2 import (
    CountTokensRequest,
    Delta,
    EmbedRequest,
    ExecuteRequest,
    ExecuteResponse,
    ProcessRequest,
)
from gemini_backend_client import arguments, function_response, model_turn, user_turn
from gemini_backend_client.messages.content import to_contents
from gemini_backend_client.messages.fields import (
    CountFields,
    EmbedFields,
    ExecuteFields,
    ProcessFields,
)
from gemini_backend_client.messages.request import build
from gemini_backend_client.messages.texts import fields_of

if TYPE_CHECKING:
    from clients.python.tests.fake_backend import FakeBackend
    from gemini_backend_client import Client

BIG = 2**53 + 1
TEXT = f'{{"id":{BIG},"price":1.0,"deep":{{"n":[{2**64}]}}}}'


def test_arguments_are_exact() -> None:
    """Whole numbers come as `int`, with all their digits; others as `float`."""
    for call in (FunctionCall(name="f", args_json=TEXT), ToolCall(args_json=TEXT)):
        call.args.update({"id": float(BIG)})
        found = arguments(call)
        assert (BIG, 1.0, {"n": [2**64]}) == (found["id"], found["price"], found["deep"])
        assert (int, float) == (type(found["id"]), type(found["price"]))


def test_arguments_of_a_struct_alone() -> None:
    """Where there is no text, whole numbers are `int` nevertheless."""
    call = FunctionCall(name="f")
    call.args.update({"n": 3, "x": 1.5, "list": [1, {"a": 2}]})
    assert "[('list', [1, {'a': 2}]), ('n', 3), ('x', 1.5)]" == str(sorted(arguments(call).items()))
    assert {} == arguments(FunctionCall(name="f"))


def test_results_are_exact() -> None:
    """A result is sent as text: digits, order of keys, letters of any alphabet."""
    result = {"z": BIG, "a": 1.0, "é": None}
    answer = function_response(FunctionCall(name="f"), result).function_response
    assert f'{{"z": {BIG}, "a": 1.0, "é": null}}' == answer.response_json
    assert not answer.HasField("response")


@pytest.mark.parametrize("result", [{"x": float("nan")}, {"x": object()}])
def test_results_that_json_cannot_hold(result: dict[str, Any]) -> None:
    """They are refused here, where they are."""
    with pytest.raises((TypeError, ValueError)):
        function_response(FunctionCall(name="f"), result)


@pytest.mark.parametrize("turn", [model_turn, user_turn])
def test_mappings_become_texts(turn: Any) -> None:
    """Free JSON in a mapping of a part's fields goes as text; what has a text keeps it."""
    call, response, tool, own = turn(
        {"function_call": {"name": "f", "args": {"z": BIG, "a": 1}}},
        {"function_response": {"name": "f", "response": {"n": BIG}, "response_json": "{}"}},
        {"tool_call": {"id": "1", "args": {"n": BIG}}},
        {"text": "a", "extra": {"n": BIG}, "part_metadata": {"n": BIG}},
    ).parts
    exact = f'{{"n": {BIG}}}'
    assert f'{{"z": {BIG}, "a": 1}}' == call.function_call.args_json
    assert "{}" == response.function_response.response_json
    assert exact == tool.tool_call.args_json
    assert (exact, exact) == (own.extra_json, own.part_metadata_json)


def test_requests_become_texts() -> None:
    """So does what is free in a request, however deep: tools, schemas, extra."""
    fields = {
        "extra": {"n": BIG},
        "generation_config": {"response_schema": {"z": 1, "a": BIG}},
        "tools": [{"function_declarations": [{"name": "f", "parameters": {"z": 1, "a": BIG}}]}],
        "labels": {"team": "a"},
    }
    built = build(ExecuteRequest, "hi", None, fields)
    assert f'{{"n": {BIG}}}' == built.extra_json
    ordered = f'{{"z": 1, "a": {BIG}}}'
    assert ordered == built.generation_config.response_schema_json
    assert ordered == built.tools[0].function_declarations[0].parameters_json
    assert {"team": "a"} == dict(built.labels)
    (turn,) = to_contents({"role": "model", "parts": ["a"], "extra": {"n": BIG}})
    assert f'{{"n": {BIG}}}' == turn.extra_json


def delta(**fields: Any) -> ExecuteResponse:
    """Return an event with a delta of these fields."""
    return ExecuteResponse(execution="executions/e", delta=Delta(**fields))


def test_a_stream_is_put_together_to_the_letter(client: Client, backend: FakeBackend) -> None:
    """Texts of several pieces become one; the turn has what is its own."""
    grounding = {"web_search_queries": ["q"], "extra": {"a": 1.0}, "extra_json": '{"a":1.0}'}
    more = {"extra": {"b": 2.0}, "extra_json": f'{{"b":{BIG}}}'}
    backend.script(
        STARTED,
        piece("a"),
        delta(
            extra={"a": 1.0, "content": {"x": 1.0}},
            extra_json='{"a":1.0,"content":{"x":1.0}}',
            response_extra={"r": 1.0},
            response_extra_json='{"r":1.0}',
            grounding_metadata=grounding,
            continuation_token=b"token",
        ),
        delta(
            extra={"b": 2.0},
            extra_json=f'{{"b":{BIG}}}',
            response_extra_json=f'{{"d":{BIG}}}',
            grounding_metadata=more,
        ),
        whole(),
    )
    response = client.execute("hi").result().response
    (candidate,) = response.candidates
    assert {"a": "1.0", "b": str(BIG)} == fields_of(candidate.extra_json)
    assert {"a", "b"} == set(candidate.extra)
    assert ('{"x":1.0}', 1.0) == (candidate.content.extra_json, candidate.content.extra["x"])
    assert {"r": "1.0", "d": str(BIG)} == fields_of(response.extra_json)
    assert not response.HasField("extra")  # no Struct holds all of it
    assert {"a": "1.0", "b": str(BIG)} == fields_of(candidate.grounding_metadata.extra_json)
    assert b"token" == candidate.continuation_token


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("{}", {}),
        (' { "a" : 1.50 ,\n"b":[ ] } ', {"a": "1.50", "b": "[ ]"}),
        ('{"\\u0061":"x,}","a":2}', {"a": "2"}),
    ],
)
def test_texts_are_taken_apart(text: str, fields: dict[str, str]) -> None:
    """Each field is its own text; of two of one name the last one counts."""
    assert fields == fields_of(text)


@pytest.mark.parametrize("text", ["", "[]", '{"a"', '{"a" 1}', "{1:2}", '{"a":}'])
def test_texts_that_are_no_objects(text: str) -> None:
    """They are refused, not read to the half."""
    with pytest.raises(ValueError, match=r"expected|Expecting|Unterminated"):
        fields_of(text)


def test_every_field_of_a_request_is_a_keyword() -> None:
    """What a message has can be given by name, but for what the calls' own arguments are."""
    pairs = [
        (ExecuteFields, ExecuteRequest, {"prompt", "contents"}),
        (ProcessFields, ProcessRequest, {"prompt", "contents"}),
        (CountFields, CountTokensRequest, {"prompt", "contents"}),
        (EmbedFields, EmbedRequest, {"contents", "task_type_raw"}),
    ]
    for fields, message, own in pairs:
        assert set(message.DESCRIPTOR.fields_by_name) - own == set(fields.__annotations__)
