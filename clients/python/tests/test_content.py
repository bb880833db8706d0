"""Content, tools and requests out of plain values."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from gemini.backend.v1.content_pb2 import Content, FunctionCall, GenerationConfig, Part
from gemini.backend.v1.execute_service_pb2 import ExecuteRequest, Priority
from gemini_backend_client import (
    file,
    function,
    function_response,
    json_answer,
    media,
    model_turn,
    tool,
    user_turn,
)
from gemini_backend_client.messages.content import to_contents
from gemini_backend_client.messages.request import build

if TYPE_CHECKING:
    from pathlib import Path

_SCHEMA = {"type": "object", "properties": {"z": {"$ref": "#/x"}, "a": {"type": "string"}}}


def test_text_is_a_prompt() -> None:
    """A string alone is sent as `prompt`."""
    assert ExecuteRequest(prompt="hi") == build(ExecuteRequest, "hi", None, {})


def test_parts_in_a_row_are_one_turn() -> None:
    """Loose parts are the user's; a Content between them is a turn of its own."""
    turns = to_contents(["a", (b"\x89", "image/png"), model_turn("b"), "c"])
    assert ["user", "model", "user"] == [turn.role for turn in turns]
    assert "a" == turns[0].parts[0].text
    assert "image/png" == turns[0].parts[1].inline_data.mime_type
    assert "c" == turns[2].parts[0].text


@pytest.mark.parametrize(
    "value",
    [
        {"text": "hi"},
        Part(text="hi"),
        Content(role="user", parts=[Part(text="hi")]),
        {"role": "user", "parts": ["hi"]},
        ["hi"],
        ({"text": "hi"},),
        iter(["hi"]),
    ],
)
def test_many_ways_to_say_the_same(value: Any) -> None:
    """Messages, mappings and iterables of them all will do."""
    assert [user_turn("hi")] == to_contents(value)


def test_files_are_sent_with_their_type(tmp_path: Path) -> None:
    """A path becomes an inline part whose type its name tells."""
    path = tmp_path / "a.png"
    path.write_bytes(b"\x89PNG")
    assert media(b"\x89PNG", "image/png") == media(path)
    (turn,) = to_contents([path, "what is it?"])
    assert b"\x89PNG" == turn.parts[0].inline_data.data


def test_files_of_unknown_type_are_refused(tmp_path: Path) -> None:
    """A name that tells no type asks for one."""
    path = tmp_path / "mystery"
    path.write_bytes(b"x")
    with pytest.raises(ValueError, match="mime_type"):
        media(path)
    with pytest.raises(ValueError, match="media type"):
        media(b"x")


@pytest.mark.parametrize("wrong", [7, b"bytes", [7], None, ("a", 7)])
def test_what_is_no_content_is_refused(wrong: Any) -> None:
    """The error names what would do."""
    with pytest.raises(TypeError, match="give a str, a Path"):
        to_contents(wrong)


def test_files_by_address() -> None:
    """A file's address goes as it is."""
    assert "gs://a/b" == file("gs://a/b", "video/mp4").file_data.file_uri


def test_functions_keep_their_schema() -> None:
    """A JSON Schema reaches the model unchanged, its keys in their order."""
    declared = tool(function("f", "does it", _SCHEMA)).function_declarations[0]
    assert json.dumps(_SCHEMA) == declared.parameters_json_schema_text
    assert not function("f", "does it").WhichOneof("parameter_schema")


def test_function_responses_match_their_call() -> None:
    """Name and id are the call's; what is no object becomes `output`."""
    call = FunctionCall(id="c1", name="f")
    answer = function_response(call, 7).function_response
    assert ("c1", "f", '{"output": 7}') == (answer.id, answer.name, answer.response_json)
    assert not function_response(FunctionCall(name="f"), {"a": 1}).function_response.HasField("id")


def test_json_answers() -> None:
    """A schema may be given by helper, or among the fields of the config."""
    config = json_answer(_SCHEMA, temperature=0.5)
    assert "application/json" == config.response_mime_type
    assert json.dumps(_SCHEMA) == config.response_json_schema_text
    fields = {"generation_config": {"response_json_schema": _SCHEMA}}
    built = build(ExecuteRequest, "hi", None, fields).generation_config
    assert GenerationConfig(response_json_schema_text=json.dumps(_SCHEMA)) == built


def test_fields_may_be_plain() -> None:
    """Mappings, names of enum values and time deltas do for messages."""
    request = build(
        ExecuteRequest,
        None,
        None,
        {
            "system_instruction": "be brief",
            "priority": "PRIORITY_BATCH",
            "idle_timeout": timedelta(seconds=1.5),
            "tools": [{"google_search": {}}],
            "labels": {"team": "a"},
            "resume": {"execution": "e-1", "after_sequence": 3},
            "safety_settings": [{"category": "HARM_CATEGORY_HARASSMENT"}],
        },
    )
    assert "be brief" == request.system_instruction.parts[0].text
    assert Priority.PRIORITY_BATCH == request.priority
    assert (1, 500_000_000) == (request.idle_timeout.seconds, request.idle_timeout.nanos)
    assert request.tools[0].HasField("google_search")
    assert 3 == request.resume.after_sequence


def test_unknown_fields_are_refused() -> None:
    """A misspelt field is an error, not silence."""
    with pytest.raises(ValueError, match="temprature"):
        build(ExecuteRequest, "hi", None, {"temprature": 1})
