"""Numbers and keys of free JSON, to the letter: as they came, and as they are to be sent.

Covers: upstream/gemini/requests/rounding.py, upstream/gemini/translation/free_json.py,
upstream/gemini/translation/json_values.py, upstream/gemini/translation/proto_fields.py,
upstream/gemini/translation/scalars.py
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.errors import InvalidRequest
from gemini_backend.upstream.gemini.answer import unary_answer
from gemini_backend.upstream.gemini.answer.stream_answer import AnswerStream
from gemini_backend.upstream.gemini.failure.classification import Failures
from gemini_backend.upstream.gemini.requests import generate, rounding

EXACT = [
    '{"z":1.0,"a":1.50}',
    '{"n":9007199254740993,"m":18446744073709551616,"k":-9007199254740993}',
    '{"n":1e400,"tiny":1e-400,"zero":-0}',
    '{ "a" : [ 1 ,\t2 ] , "b":\n{} }',
    '{"text":"caf\\u00e9 \\ud83d\\ude00 \\/ \\u0022","\\u0061":"é😀"}',
    '{"a":1,"a":2}',
    f'{{"long":{"7" * 5000},"fine":0.{"3" * 40}}}',
    "{}",
    '{"deep":' + '{"a":' * 60 + "1" + "}" * 60 + "}",
]
"""Texts that change when somebody reads them and writes them again."""

NO_OBJECTS = [
    "[1]",
    "7",
    '"a"',
    "null",
    "{",
    '{"a":1} {"b":2}',
    '{"a":NaN}',
    "{'a':1}",
    " ",
    "{1:2}",
]


def answer(part: str, more: str = "") -> str:
    """Return the body of an answer with one part; `more` are further fields of the candidate."""
    return (
        f'{{"candidates":[{{"content":{{"parts":[{part}],"role":"model"}},'
        f'"finishReason":"STOP","index":0{more}}}]}}'
    )


def streamed(body: str) -> list[pb.ExecuteResponse]:
    """Return what comes out of a stream of one event."""
    stream = AnswerStream("models/m", Failures(), merge=True)
    out = stream.feed([body.encode()])
    assert stream.failure is None
    return [pb.ExecuteResponse.FromString(e.SerializeToString()) for e in [*out, *stream.finish()]]


def parts_of(body: str) -> list[content.Part]:
    """Return the part of an answer, as a stream and as a whole answer give it."""
    response = unary_answer.response(body.encode(), "models/m", Failures())
    return [streamed(body)[1].delta.parts[0], response.candidates[0].content.parts[0]]


@pytest.mark.parametrize("way", ["typed", "plain"])
@pytest.mark.parametrize("text", EXACT)
def test_arguments_come_to_the_letter(text: str, way: str) -> None:
    """The text of a call's arguments is Gemini's own, on both ways in which an event is read."""
    more = ',"new":{}' if way == "plain" else ""
    for part in parts_of(answer(f'{{"functionCall":{{"name":"f","args":{text}{more}}}}}')):
        assert text == part.function_call.args_json


@pytest.mark.parametrize("text", EXACT)
def test_other_free_json_comes_to_the_letter(text: str) -> None:
    """So is that of a server-side tool, of its answer, and of a part's own data."""
    call = f'{{"toolCall":{{"id":"1","toolType":"URL_CONTEXT","args":{text}}}}}'
    for part in parts_of(answer(call)):
        assert text == part.tool_call.args_json
    response = f'{{"toolResponse":{{"id":"1","response":{text}}}}}'
    for part in parts_of(answer(response)):
        assert text == part.tool_response.response_json
    for part in parts_of(answer(f'{{"text":"a","partMetadata":{text}}}')):
        assert text == part.part_metadata_json


@pytest.mark.parametrize("text", EXACT)
def test_what_has_no_name_comes_to_the_letter(text: str) -> None:
    """Each value that the contract has no field for is Gemini's own text, wherever it stands."""
    kept = f'{{"new":{text}}}'
    for part in parts_of(answer(f'{{"text":"a","new":{text}}}')):
        assert kept == part.extra_json
    body = answer('{"text":"a"}', f',"new":{text}')
    assert kept == streamed(body)[1].delta.extra_json
    found = unary_answer.response(body.encode(), "models/m", Failures())
    assert kept == found.candidates[0].extra_json
    body = f'{answer("{}")[:-1]},"new":{text}}}'.replace("{}]", '{"text":"a"}]')
    assert kept == streamed(body)[1].delta.response_extra_json
    assert kept == unary_answer.response(body.encode(), "models/m", Failures()).extra_json


def test_no_struct_holds_what_it_would_break() -> None:
    """Beyond a double's range, or too deep for a message, there is the text alone."""
    held = {}
    for text in EXACT:
        (part, _) = parts_of(answer(f'{{"functionCall":{{"name":"f","args":{text}}}}}'))
        held[text] = part.function_call.HasField("args")
    expected = {text: not any(w in text for w in ("1e400", "deep", "long")) for text in EXACT}
    assert expected == held


def test_a_number_that_a_field_would_round_stays_in_extra() -> None:
    """A double takes whole numbers up to 2^53 only."""
    body = answer('{"text":"a"}', ',"avgLogprobs":-9007199254740993')
    delta = streamed(body)[1].delta
    assert not delta.HasField("avg_logprobs")
    assert '{"avgLogprobs":-9007199254740993}' == delta.extra_json


def test_a_null_by_either_name_is_null() -> None:
    """Vertex AI may write the enum's name where JSON has null."""
    pieces = '[{"jsonPath":"$.a","nullValue":"NULL_VALUE"},{"jsonPath":"$.b","nullValue":null}]'
    part = f'{{"functionCall":{{"name":"f","partialArgs":{pieces},"willContinue":true}}}}'
    for found in parts_of(answer(part)):
        kinds = [arg.WhichOneof("delta") for arg in found.function_call.partial_args]
        assert ["null_value", "null_value"] == kinds


def sent(*parts: dict[str, Any], **fields: Any) -> str:
    """Return the body of a request with these parts, and these fields."""
    message = {"contents": [{"parts": list(parts)}], "model": "models/m", **fields}
    return generate.generate(ParseDict(message, pb.ExecuteRequest())).decode()


WAYS: list[tuple[str, Any]] = [
    ("args", lambda twin: {"function_call": {"name": "f", **twin}}),
    ("response", lambda twin: {"function_response": {"name": "f", **twin}}),
    ("args", lambda twin: {"tool_call": twin}),
    ("response", lambda twin: {"tool_response": twin}),
    ("part_metadata", lambda twin: {"text": "a", **twin}),
]


@pytest.mark.parametrize(("name", "part"), WAYS)
@pytest.mark.parametrize("text", EXACT)
def test_a_text_is_sent_to_the_letter(name: str, part: Any, text: str) -> None:
    """Set instead of the Struct, or beside it, the text is what Gemini gets."""
    key = "partMetadata" if name == "part_metadata" else name
    expected = f'"{key}":{text}'
    assert expected in sent(part({f"{name}_json": text}))
    assert expected in sent(part({f"{name}_json": text, name: {"other": 1}}))
    assert "other" not in sent(part({f"{name}_json": text, name: {"other": 1}}))


@pytest.mark.parametrize("text", EXACT)
def test_fields_without_a_name_are_sent_to_the_letter(text: str) -> None:
    """Each value of `extra_json` is what Gemini gets, and `extra` beside it is not looked at."""
    twin = {"extra_json": f'{{"new":{text}}}', "extra": {"other": 1}}
    for body in (sent({"text": "a", **twin}), sent({"text": "a"}, **twin)):
        assert f'"new":{text}' in body
        assert "other" not in body


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({"generation_config": {"response_schema_json": "{0}"}}, "responseSchema"),
        ({"generation_config": {"response_json_schema_text": "{0}"}}, "responseJsonSchema"),
        (
            {"generation_config": {"response_format": [{"text": {"schema_json": "{0}"}}]}},
            "schema",
        ),
        (
            {"tools": [{"function_declarations": [{"name": "f", "parameters_json": "{0}"}]}]},
            "parameters",
        ),
        (
            {"tools": [{"function_declarations": [{"name": "f", "response_json": "{0}"}]}]},
            "response",
        ),
        (
            {
                "tools": [
                    {"function_declarations": [{"name": "f", "response_json_schema_text": "{0}"}]}
                ]
            },
            "responseJsonSchema",
        ),
    ],
)
def test_schemas_are_sent_to_the_letter(fields: dict[str, Any], key: str) -> None:
    """A schema as text keeps the order of its keys and the digits of its numbers."""
    text = '{"type":"OBJECT","properties":{"z":{"maximum":9007199254740993},"a":{"minimum":1.0}}}'
    whole_text = json.dumps(fields).replace('"{0}"', json.dumps(text))
    assert f'"{key}":{text}' in sent({"text": "a"}, **json.loads(whole_text))


@pytest.mark.parametrize("text", NO_OBJECTS)
@pytest.mark.parametrize(("name", "part"), WAYS)
def test_what_is_no_object_is_refused_by_name(name: str, part: Any, text: str) -> None:
    """Text that is not that of an object never reaches Gemini; the violation names the field."""
    with pytest.raises(InvalidRequest) as refused:
        sent(part({f"{name}_json": text}))
    (violation,) = refused.value.violations
    assert violation.field.startswith("contents[0].parts[0]")
    assert violation.field.endswith(f"{name}_json")


def test_an_extra_that_is_no_object_is_refused_by_name() -> None:
    """So is that of a message's further fields, and one that repeats a field of the message."""
    for twin in ("[1]", '{"text":"b"}'):
        with pytest.raises(InvalidRequest) as refused:
            sent({"text": "a", "extra_json": twin})
        assert ["contents[0].parts[0].extra_json"] == [v.field for v in refused.value.violations]


def test_what_came_goes_back_to_the_letter() -> None:
    """A turn of Gemini's that is sent again is, for all its free JSON, the text that it was."""
    for text in EXACT:
        call = f'"functionCall":{{"name":"f","args":{text}}}'
        part = f'{{{call},"thoughtSignature":"AAE=","new":{text}}}'
        response = unary_answer.response(answer(part).encode(), "models/m", Failures())
        turn = response.candidates[0].content
        body = generate.generate(pb.ExecuteRequest(contents=[turn], model="models/m")).decode()
        assert f'"args":{text}' in body
        assert f'"new":{text}' in body


# --- numbers of a Struct


def request_with(args: dict[str, Any]) -> pb.ExecuteRequest:
    """Return a request that repeats a call with these arguments, as a Struct."""
    struct = Struct()
    struct.update(args)
    part = content.Part(function_call=content.FunctionCall(name="f", args=struct))
    return pb.ExecuteRequest(contents=[content.Content(parts=[part])], model="models/m")


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (1.0, "1"),
        (2.0**53, "9007199254740992"),
        (2.0**53 + 2, "9007199254740994"),
        (123456789012345678.0, "123456789012345680"),
        (-(2.0**64), "-18446744073709551616"),
        (1e20, "100000000000000000000"),
        (1e300, "1e300"),
        (1.5, "1.5"),
    ],
)
def test_whole_numbers_are_written_as_digits(number: float, expected: str) -> None:
    """No exponent and no point, as far as anybody writes such numbers out."""
    assert f'"args":{{"n":{expected}}}' in generate.generate(request_with({"n": number})).decode()


def test_large_numbers_of_a_struct_are_told_of() -> None:
    """They may have been rounded before they came; the warning names them and what to set."""
    rounded: list[str] = []
    request = request_with({"id": 2.0**60, "fine": 2.0**53, "list": [{"x": -(2.0**70)}]})
    generate.generate(request, rounded)
    (warning,) = rounding.warnings_of(request.DESCRIPTOR, sorted(rounded))
    where = "contents[0].parts[0].function_call"
    assert "NUMBER_ROUNDED" == warning.code
    assert f"{where}.args.id (set {where}.args_json)" in warning.message
    assert f"{where}.args.list[0].x (set {where}.args_json)" in warning.message
    assert "fine" not in warning.message


def test_exact_texts_and_small_numbers_warn_of_nothing() -> None:
    """What is exact is not told of."""
    rounded: list[str] = []
    request = request_with({"n": 2.0**53})
    request.contents[0].parts[0].function_call.args_json = '{"n":9007199254740993}'
    generate.generate(request, rounded)
    generate.generate(request_with({"n": 2.0**53}), rounded)
    assert [] == rounded
    assert [] == rounding.warnings_of(request.DESCRIPTOR, rounded)


@pytest.mark.parametrize(
    ("fields", "twin"),
    [
        ({"extra": {"n": 2**60}}, "extra_json"),
        (
            {"generation_config": {"response_json_schema": {"maximum": 2**60}}},
            "generation_config.response_json_schema_text",
        ),
        (
            {"generation_config": {"response_schema": {"maximum": 2**60}}},
            "generation_config.response_schema_json",
        ),
        (
            {"tools": [{"function_declarations": [{"name": "f", "parameters": {"n": 2**60}}]}]},
            "tools[0].function_declarations[0].parameters_json",
        ),
        (
            {"system_instruction": {"parts": [{"text": "a", "extra": {"n": 2**60}}]}},
            "system_instruction.parts[0].extra_json",
        ),
    ],
)
def test_each_kind_of_free_json_names_its_text(fields: dict[str, Any], twin: str) -> None:
    """The field to set is the one beside the Struct, by its whole path."""
    rounded: list[str] = []
    request = ParseDict({"prompt": "a", "model": "models/m", **fields}, pb.ExecuteRequest())
    generate.generate(request, rounded)
    (warning,) = rounding.warnings_of(request.DESCRIPTOR, rounded)
    assert f"(set {twin})" in warning.message


def test_many_numbers_make_one_short_warning() -> None:
    """Three are named, the rest is counted."""
    paths = [f"extra.n{i}" for i in range(1000)]
    (warning,) = rounding.warnings_of(pb.ExecuteRequest.DESCRIPTOR, paths)
    assert "and 997 more" in warning.message
    assert 3 == warning.message.count("extra_json")
