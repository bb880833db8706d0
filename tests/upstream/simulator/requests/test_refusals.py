"""Requests that Gemini refuses, in its own words.

Covers: upstream/simulator/errors.py, upstream/simulator/requests/ask.py,
upstream/simulator/requests/fields.py, upstream/simulator/requests/json_reader.py
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.upstream.simulator.talker import Build, Json, Start, Talker

LEVEL, BUDGET = {"thinkingLevel": "HIGH"}, {"thinkingBudget": 1024}


async def test_unknown_fields_are_named(gemini: Talker) -> None:
    """An unknown field is a 400 that says where; several come at once, with details."""
    request = {"foo": 1, "contents": [{"parts": [{"text": "x", "role": "user"}]}]}
    error = (await gemini.generate(request)).json["error"]
    assert (400, "INVALID_ARGUMENT") == (error["code"], error["status"])
    top = 'Invalid JSON payload received. Unknown name "foo": Cannot find field.'
    deep = (
        "Invalid JSON payload received. Unknown name \"role\" at 'contents[0].parts[0]': "
        "Cannot find field."
    )
    assert f"{top}\n{deep}" == error["message"]
    assert "type.googleapis.com/google.rpc.BadRequest" == error["details"][0]["@type"]
    assert [top, deep] == [v["description"] for v in error["details"][0]["fieldViolations"]]


async def test_a_schema_takes_no_additional_properties(gemini: Talker, ask: Build) -> None:
    """`additionalProperties` in Gemini's own schema is the classic refusal; JSON Schema has it."""
    schema = {"type": "object", "additionalProperties": False}
    declared = [{"functionDeclarations": [{"name": "f", "parameters": schema}]}]
    refused = await gemini.generate({**ask("x"), "tools": declared})
    where = "at 'tools[0].function_declarations[0].parameters'"
    assert where in refused.json["error"]["message"]
    declared = [{"functionDeclarations": [{"name": "f", "parametersJsonSchema": schema}]}]
    assert 200 == (await gemini.generate({**ask("x"), "tools": declared})).status


@pytest.mark.parametrize("body", [b"{", b"not json", b'{"contents": ', b"\xff\xfe", b"[1]"])
async def test_what_is_no_json_object_is_refused(gemini: Talker, body: bytes) -> None:
    """Broken bodies are a 400, never a crash."""
    path = "/v1beta/models/gemini-3.5-flash:generateContent"
    answer = await gemini.send("POST", path, body)
    assert 400 == answer.status
    assert "INVALID_ARGUMENT" == answer.json["error"]["status"]


DEEP = [("[", "]"), ('{"anyOf":[', "]}"), ('{"type":"ARRAY","items":', "}")]


@pytest.mark.parametrize(("opens", "closes"), DEEP)
@pytest.mark.parametrize("depth", [40, 900, 20_000])
async def test_deep_nesting_is_refused(gemini: Talker, opens: str, closes: str, depth: int) -> None:
    """However deep a schema is, the answer is a 400, and the next request is served."""
    start = b'{"contents":[{"parts":[{"text":"x"}]}],"generationConfig":{"responseSchema":'
    body = start + (opens * depth + "{}" + closes * depth).encode() + b"}}"
    path = "/v1beta/models/gemini-3.5-flash:generateContent"
    assert 400 == (await gemini.send("POST", path, body)).status
    assert 200 == (await gemini.generate("Hello")).status
    assert gemini.simulator.requests()


@pytest.mark.parametrize(
    "schema",
    [
        {"type": 5},
        {"enum": []},
        {"$ref": 5},
        {"anyOf": [5]},
        {"properties": [1]},
        {"type": "integer", "minimum": "x"},
        {"type": "array", "minItems": 10**9},
        {"type": "string", "minLength": 10**9},
        {"type": "number", "multipleOf": 0},
        {
            "type": "array",
            "minItems": 999,
            "items": {"type": "array", "minItems": 999, "items": {"type": "string"}},
        },
    ],
)
async def test_what_is_no_schema_is_refused(gemini: Talker, ask: Build, schema: Json) -> None:
    """A schema that is none, or that only a huge value would fit, is a 400."""
    request = ask("x", responseMimeType="application/json", responseJsonSchema=schema)
    answer = await gemini.stream(request)
    assert 400 == answer.status
    assert "schema" in answer.json["error"]["message"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temperature": "hot"}, '(TYPE_FLOAT), "hot"'),
        ({"maxOutputTokens": 1.5}, "(TYPE_INT32), 1.5"),
        ({"thinkingConfig": {"thinkingLevel": "HUGE"}}, 'ThinkingLevel), "HUGE"'),
        ({"stopSequences": [7]}, "'generation_config.stop_sequences[0]' (TYPE_STRING), 7"),
    ],
)
async def test_wrong_types_are_named(
    gemini: Talker, ask: Build, change: Json, message: str
) -> None:
    """A value of a wrong type is a 400 that shows field, type and value."""
    answer = await gemini.generate(ask("x", **change))
    assert 400 == answer.status
    assert message in answer.json["error"]["message"]


async def test_both_spellings_and_single_values_are_read(gemini: Talker) -> None:
    """snake_case, a lone object where a list is due, and enums as numbers are all accepted."""
    request = {
        "contents": {"parts": {"text": "Call f", "thought_signature": None}},
        "system_instruction": {"parts": {"text": "Be brief"}},
        "tools": {"function_declarations": [{"name": "f", "parameters": {"type": 6}}]},
        "tool_config": {"function_calling_config": {"mode": 2}},
        "generation_config": {"max_output_tokens": 50},
    }
    answer = await gemini.generate(request)
    assert 200 == answer.status
    part = answer.json["candidates"][0]["content"]["parts"][0]
    assert "f" == part["functionCall"]["name"]


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ([], "* GenerateContentRequest.contents: contents is not specified\n"),
        (
            [{"role": "user", "parts": []}],
            "* GenerateContentRequest.contents[0].parts: contents.parts must not be empty.\n",
        ),
        (
            [{"parts": [{"thought": True}]}],
            (
                "* GenerateContentRequest.contents[0].parts[0].data: required oneof field 'data' "
                "must have one initialized field\n"
            ),
        ),
        ([{"role": "boss", "parts": [{"text": "x"}]}], "Please use a valid role: user, model."),
    ],
)
async def test_empty_contents_are_refused(
    gemini: Talker, contents: list[Json], message: str
) -> None:
    """Nothing to answer is a 400 that says what is missing."""
    answer = await gemini.generate({"contents": contents})
    assert (400, message) == (answer.status, answer.json["error"]["message"])


@pytest.mark.parametrize(
    ("model", "config", "message"),
    [
        ("gemini-2.5-flash", {"thinkingConfig": LEVEL}, "Thinking level is not supported for"),
        (
            "gemini-4-argon",
            {"thinkingConfig": {"thinkingLevel": "MINIMAL"}},
            "Thinking level MINIMAL is not supported for this model.",
        ),
        (
            "gemini-3.5-flash",
            {"thinkingConfig": {**LEVEL, **BUDGET}},
            "You can only set only one of thinking budget and thinking level.",
        ),
        (
            "gemini-2.5-pro",
            {"thinkingConfig": {"thinkingBudget": 0}},
            "Budget 0 is invalid. This model only works in thinking mode.",
        ),
        (
            "gemini-2.5-flash-lite",
            {"thinkingConfig": {"thinkingBudget": 5}},
            "Please choose a value between 512 and 24576.",
        ),
        ("gemini-3.5-flash", {"presencePenalty": 0.5}, "Penalty is not enabled for this model"),
        ("gemini-3.5-flash", {"temperature": 2.5}, "temperature must be in the range [0.0, 2.0]"),
        ("gemini-3.5-flash", {"candidateCount": 9}, "candidate_count must be in the range [1, 8]"),
        ("gemini-4-argon", {"candidateCount": 2}, "Multiple candidates is not enabled for this"),
        ("gemini-3.5-flash", {"maxOutputTokens": -1}, "max_output_tokens must be in the range"),
        ("gemini-3.5-flash", {"maxOutputTokens": 65_537}, "in the range [1, 65536]"),
        ("gemini-4-argon", {"maxOutputTokens": 1_048_577}, "in the range [1, 1048576]"),
        ("gemini-3.5-flash", {"responseMimeType": "text/html"}, "allowed mimetypes are"),
    ],
)
async def test_settings_that_the_model_lacks_are_refused(
    gemini: Talker, ask: Build, model: str, config: Json, message: str
) -> None:
    """What a model cannot do is a 400 in Gemini's words."""
    answer = await gemini.generate(ask("x", **config), model)
    assert 400 == answer.status
    assert message in answer.json["error"]["message"]


@pytest.mark.parametrize(
    ("model", "mode", "status"),
    [
        ("gemini-2.5-flash", "AUTO", 400),
        ("gemini-2.5-flash", "NONE", 200),
        ("gemini-3.5-flash", "AUTO", 200),
        ("gemini-3.5-flash", "ANY", 400),
    ],
)
async def test_forced_calls_and_json_do_not_go_together(
    gemini: Talker, ask: Build, model: str, mode: str | None, status: int
) -> None:
    """JSON mode with functions is refused by old models, and by new ones if a call is forced."""
    request = {
        **ask("x", responseMimeType="application/json"),
        "tools": [{"functionDeclarations": [{"name": "f"}]}],
        "toolConfig": {"functionCallingConfig": {"mode": mode}},
    }
    answer = await gemini.generate(request, model)
    assert status == answer.status
    if status == 400:
        message = answer.json["error"]["message"]
        assert "with a response mime type: 'application/json' is unsupported" in message


async def test_calls_and_responses_must_be_equal_in_number(gemini: Talker) -> None:
    """Two calls answered by one response are a 400; split turns count as one."""
    call, response = {"functionCall": {"name": "f"}}, {"functionResponse": {"name": "f"}}
    user = {"role": "user", "parts": [{"text": "x"}]}
    two = {"role": "model", "parts": [call, call]}
    one = {"role": "user", "parts": [response]}
    answer = await gemini.generate({"contents": [user, two, one]}, "gemini-2.5-flash")
    assert "Please ensure that the number of function response parts" in answer.body.decode()
    split = [{"role": "model", "parts": [call]}] * 2
    both = {"role": "user", "parts": [response, response]}
    answer = await gemini.generate({"contents": [user, *split, both]}, "gemini-2.5-flash")
    assert 200 == answer.status


async def test_too_long_a_prompt_is_refused(gemini: Talker) -> None:
    """More tokens than the model takes is a 400 with both numbers."""
    answer = await gemini.generate("a " * 140_000, "gemma-3-27b-it")
    assert 400 == answer.status
    message = answer.json["error"]["message"]
    assert message.startswith("The input token count (1")
    assert message.endswith("exceeds the maximum number of tokens allowed (131072).")


async def test_too_large_a_body_is_refused(start: Start) -> None:
    """A body above the limit is a 400, not a broken connection."""
    gemini = await start(max_body=10_000)
    answer = await gemini.generate("x" * 20_000)
    assert 400 == answer.status
    assert "Request payload size exceeds the limit: 10000 bytes." in answer.body.decode()


@pytest.mark.parametrize(
    ("model", "method", "version"),
    [
        ("nope", "generateContent", "v1beta"),
        ("gemini-embedding-2", "generateContent", "v1beta"),
        ("gemini-3.5-flash", "embedContent", "v1"),
        ("gemini-flash-latest", "generateContent", "v1"),
        ("gemini-2.0-flash", "countTokens", "v1beta"),
    ],
)
async def test_unknown_models(gemini: Talker, model: str, method: str, version: str) -> None:
    """A model that is not there, or lacks the method, is Gemini's 404."""
    answer = await gemini.call(method, "x", model, version)
    assert 404 == answer.status
    assert (
        f"models/{model} is not found for API version {version}, or is not supported for {method}. "
        "Call ModelService.ListModels to see the list of available models and their supported "
        "methods."
    ) == answer.json["error"]["message"]


async def test_keys(start: Start, ask: Build) -> None:
    """No key is a 403; a key that is not on the list is a 400 with API_KEY_INVALID."""
    gemini = await start(api_keys=("good",))
    path = "/v1beta/models/gemini-3.5-flash:generateContent"
    none = await gemini.send("POST", path, ask("x"), {})
    assert (403, "PERMISSION_DENIED") == (none.status, none.json["error"]["status"])
    bad = await gemini.send("POST", path, ask("x"), {"x-goog-api-key": "bad"})
    assert 400 == bad.status
    assert "API key not valid. Please pass a valid API key." == bad.json["error"]["message"]
    assert "API_KEY_INVALID" == bad.json["error"]["details"][0]["reason"]
    assert 200 == (await gemini.send("POST", path, ask("x"), {"x-goog-api-key": "good"})).status
    assert 200 == (await gemini.send("POST", path + "?key=good", ask("x"), {})).status


@pytest.mark.parametrize("path", ["/", "/v2/models", "/v1beta/models/x:sing", "/v1beta/other/x"])
async def test_unknown_paths_get_a_page(gemini: Talker, path: str) -> None:
    """A path that is none gets the HTML page that stands before the API."""
    answer = await gemini.send("GET", path)
    assert 404 == answer.status
    assert "text/html; charset=UTF-8" == answer.headers["content-type"]
    assert answer.body.startswith(b"<!DOCTYPE html>")
