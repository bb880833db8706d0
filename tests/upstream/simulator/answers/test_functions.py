"""Function calls, built-in tools and JSON answers.

Covers: upstream/simulator/answers/compose.py, upstream/simulator/answers/grounding.py,
upstream/simulator/schemas/patterns.py, upstream/simulator/schemas/schema_check.py,
upstream/simulator/schemas/schema_values.py
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import pytest

if TYPE_CHECKING:
    from tests.upstream.simulator.talker import Answer, Build, Json, Talker

WEATHER = {
    "name": "get_weather",
    "parameters": {
        "type": "OBJECT",
        "properties": {"city": {"type": "STRING"}, "days": {"type": "INTEGER"}},
        "required": ["city"],
    },
}
TIME = {"name": "get_time", "parametersJsonSchema": {"type": "object", "properties": {}}}


class Mood(enum.Enum):
    """Moods."""

    GOOD = "good"
    BAD = "bad"


class Node(msgspec.Struct):
    """A tree."""

    label: str
    children: list[Node] = []


class Person(msgspec.Struct):
    """Something with most kinds of fields."""

    name: Annotated[str, msgspec.Meta(min_length=3, max_length=12)]
    age: Annotated[int, msgspec.Meta(ge=18, lt=120)]
    score: Annotated[float, msgspec.Meta(gt=0, le=1)]
    code: Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{3}-\d{2,4}$")]
    mood: Mood
    tags: Annotated[list[str], msgspec.Meta(min_length=2, max_length=3)]
    point: tuple[float, float]
    tree: Node
    maybe: int | None = None


def _calls(answer: Answer) -> list[Json]:
    parts = answer.json["candidates"][0]["content"]["parts"]
    return [part["functionCall"] for part in parts if "functionCall" in part]


def _request(text: str, mode: str | None = None, *declared: Json, **calling: Any) -> Json:
    request = {
        "contents": [{"role": "user", "parts": [{"text": text}]}],
        "tools": [{"functionDeclarations": list(declared) or [WEATHER, TIME]}],
    }
    if mode:
        request["toolConfig"] = {"functionCallingConfig": {"mode": mode, **calling}}
    return request


async def test_a_question_about_a_function_gets_a_call(gemini: Talker) -> None:
    """In AUTO a word of the function's name is enough; names in the prompt become arguments."""
    answer = await gemini.generate(_request("What is the weather in Paris for 3 days?"))
    call = _calls(answer)[0]
    assert "get_weather" == call["name"]
    assert {"city": "Paris", "days": 3} == call["args"]
    assert 8 == len(call["id"])
    candidate = answer.json["candidates"][0]
    assert "STOP" == candidate["finishReason"]
    assert "Model generated function call(s)." == candidate["finishMessage"]


async def test_modes(gemini: Talker) -> None:
    """ANY forces a call, NONE never makes one, AUTO only where the prompt asks for it."""
    assert [] == _calls(await gemini.generate(_request("Hello")))
    assert [] == _calls(await gemini.generate(_request("The weather, please", "NONE")))
    assert 1 == len(_calls(await gemini.generate(_request("Hello", "ANY"))))
    only = _request("Hello", "ANY", allowedFunctionNames=["get_time"])
    assert "get_time" == _calls(await gemini.generate(only))[0]["name"]


async def test_parallel_calls(gemini: Talker) -> None:
    """Functions that are named are all called; the first call alone carries a signature."""
    answer = await gemini.generate(_request("Call get_weather and get_time"))
    assert ["get_weather", "get_time"] == [call["name"] for call in _calls(answer)]
    parts = answer.json["candidates"][0]["content"]["parts"]
    assert [True, False] == ["thoughtSignature" in part for part in parts]


async def test_results_are_told(gemini: Talker) -> None:
    """After a function's response comes a text that has it."""
    first = await gemini.generate(_request("What is the weather in Paris?"))
    request = _request("What is the weather in Paris?")
    part = {"functionResponse": {"name": "get_weather", "response": {"sky": "clear", "t": 21}}}
    request["contents"] += [
        first.json["candidates"][0]["content"],
        {"role": "user", "parts": [part]},
    ]
    text = (await gemini.generate(request)).text
    assert "get_weather returned" in text
    assert '"sky":"clear"' in text


async def test_calls_stream(gemini: Talker) -> None:
    """In a stream the call comes whole in one chunk."""
    events = (await gemini.stream(_request("The weather in Rome?"))).events
    parts = [p for e in events for p in e["candidates"][0]["content"].get("parts", ())]
    assert "Rome" == parts[0]["functionCall"]["args"]["city"]
    assert "STOP" == events[-1]["candidates"][0]["finishReason"]


@pytest.mark.parametrize("field", ["parametersJsonSchema", "parameters_json_schema"])
async def test_arguments_fit_a_schema_with_references(gemini: Talker, field: str) -> None:
    """$ref, enums, tuples, ranges, patterns and recursion are all filled in validly."""
    schema = msgspec.json.schema(Person)
    request = _request("Call store_person", "ANY", {"name": "store_person", field: schema})
    call = _calls(await gemini.generate(request))[0]
    assert isinstance(msgspec.convert(call["args"], Person), Person)


@pytest.mark.parametrize("text", ["Describe someone", "Describe Ada Lovelace, 36, and Bob, -5.5"])
async def test_json_answers_fit_their_schema(gemini: Talker, ask: Build, text: str) -> None:
    """JSON mode gives JSON that the schema accepts, whatever the prompt holds."""
    schema = msgspec.json.schema(Person)
    request = ask(text, responseMimeType="application/json", responseJsonSchema=schema)
    answer = await gemini.stream(request)
    assert isinstance(msgspec.json.decode(answer.text, type=Person), Person)


async def test_geminis_own_schema(gemini: Talker, ask: Build) -> None:
    """ResponseSchema with upper-case types, property order and enums is kept."""
    schema = {
        "type": "OBJECT",
        "properties": {
            "b": {"type": "ARRAY", "items": {"type": "NUMBER"}, "minItems": 2},
            "a": {"type": "STRING", "enum": ["x", "y"]},
            "c": {"anyOf": [{"type": "BOOLEAN"}, {"type": "NULL"}]},
        },
        "propertyOrdering": ["a", "b", "c"],
        "required": ["a"],
    }
    request = ask("Go", responseMimeType="application/json", responseSchema=schema)
    value = msgspec.json.decode((await gemini.generate(request)).text)
    assert ["a", "b", "c"] == list(value)
    assert value["a"] in {"x", "y"}
    assert 2 == len(value["b"])
    assert value["c"] is True


async def test_json_without_schema_is_json(gemini: Talker, ask: Build) -> None:
    """JSON mode alone gives some JSON object."""
    answer = await gemini.generate(ask("Go on", responseMimeType="application/json"))
    assert {"answer": "Go on"} == msgspec.json.decode(answer.text)


async def test_grounding(gemini: Talker, ask: Build) -> None:
    """Google Search adds sources, what rests on them, queries, and the tokens that it used."""
    request = {**ask("Who won the cup?"), "tools": [{"googleSearch": {}}]}
    answer = await gemini.generate(request)
    found = answer.json["candidates"][0]["groundingMetadata"]
    assert ["who won the cup"] == found["webSearchQueries"]
    assert found["groundingChunks"][0]["web"]["uri"].startswith("https://")
    raw = answer.text.encode()
    for support in found["groundingSupports"]:
        segment = support["segment"]
        start, end = segment.get("startIndex", 0), segment["endIndex"]
        assert segment["text"] == raw[start:end].decode()
    assert answer.json["usageMetadata"]["toolUsePromptTokenCount"] > 0


async def test_url_context(gemini: Talker, ask: Build) -> None:
    """Pages that the prompt names are reported as read."""
    request = {**ask("Sum up https://example.com/a."), "tools": [{"url_context": {}}]}
    candidate = (await gemini.generate(request)).json["candidates"][0]
    page = candidate["urlContextMetadata"]["urlMetadata"][0]
    assert "URL_RETRIEVAL_STATUS_SUCCESS" == page["urlRetrievalStatus"]
    assert page["retrievedUrl"].startswith("https://example.com/a")


async def test_code_execution(gemini: Talker, ask: Build) -> None:
    """A sum in the prompt is computed by a program whose output is right."""
    request = {**ask("What is 12 * 3 + 4?"), "tools": [{"codeExecution": {}}]}
    parts = (await gemini.generate(request)).json["candidates"][0]["content"]["parts"]
    assert "print(12 * 3 + 4)\n" == parts[0]["executableCode"]["code"]
    assert {"outcome": "OUTCOME_OK", "output": "40\n"} == parts[1]["codeExecutionResult"]
    assert parts[2]["text"]


async def test_safety_ratings(gemini: Talker, ask: Build) -> None:
    """Safety settings are answered with a rating each."""
    settings = [{"category": "HARM_CATEGORY_HATE_SPEECH", "threshold": "BLOCK_NONE"}]
    body = (await gemini.generate({**ask("Hi"), "safetySettings": settings})).json
    rating = {"category": "HARM_CATEGORY_HATE_SPEECH", "probability": "NEGLIGIBLE"}
    assert [rating] == body["candidates"][0]["safetyRatings"]
