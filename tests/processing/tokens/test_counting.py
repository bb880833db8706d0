"""What a request comes to, and whether that is exact.

Covers: processing/tokens/call_rendering.py, processing/tokens/countable_parts.py,
processing/tokens/model_generation.py
"""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.processing.tokens.model_generation import generation_of
from tests.support.messages.tokenizers import Characters, NoTokenizer, counter_of

MODEL = "models/gemini-2.5-flash"
TEXT = content.MODALITY_TEXT


def say(*parts: Any, role: str = "user") -> content.Content:
    """Return one turn."""
    made = [content.Part(text=part) if isinstance(part, str) else part for part in parts]
    return content.Content(role=role, parts=made)


def struct(value: dict[str, Any]) -> Struct:
    """Return an object."""
    return ParseDict(value, Struct())


async def count(**fields: Any) -> Any:
    """Count a request, a token a character."""
    return await counter_of(Characters()).request(pb.ExecuteRequest(**{"model": MODEL, **fields}))


async def test_texts_and_one_a_turn() -> None:
    """A prompt of texts comes to its texts, one for each content, one for an instruction."""
    assert 6 == (await count(prompt="hello")).total
    talk = [say("ab", "cd"), say("e", role="model"), say("f")]
    found = await count(contents=talk, system_instruction=say("xyz"))
    assert (True, 6 + 3 + 3 + 1, 13, {TEXT: 13}) == (
        found.exact,
        found.total,
        found.at_least,
        found.by_modality,
    )


CALL = content.FunctionCall(name="get", args=struct({"city": "Rome", "n": 3}))
WRITTEN = 'print(default_api.get(city = "Rome", n = 3))'
RESULT = content.FunctionResponse(name="get", response=struct({"output": 7}))


@pytest.mark.parametrize(
    ("fields", "added"),
    [
        ({"contents": [say("a", content.Part(function_call=CALL))]}, len(WRITTEN)),
        ({"contents": [say("a", content.Part(function_response=RESULT))]}, 15),
        ({"contents": [say("a", content.Part(text="think", thought=True))]}, 0),
        ({"contents": [say("a", content.Part(text="b", thought_signature=b"s"))]}, 1),
        ({"contents": [say("a")], "tools": [content.Tool(google_search={})]}, 0),
        ({"contents": [say("a")], "cached_content": "cachedContents/x"}, 0),
        ({"contents": [say("a")], "extra": struct({"x": 1})}, 0),
        ({"contents": [say("a")], "generation_config": {"response_json_schema_text": "{}"}}, 0),
        ({"contents": [say("a")], "model": "models/gemini-2.0-flash"}, 0),
        ({"contents": [say("a")], "model": "models/gemini-embedding-2"}, 0),
    ],
)
async def test_anything_else_is_an_estimate(fields: dict[str, Any], added: int) -> None:
    """With tools, thoughts, schemas, or another kind of model, the count is no exact one."""
    found = await count(**fields)
    assert (False, 2 + added) == (found.exact, found.total)


async def test_media_are_told_apart() -> None:
    """Each kind of medium has its own count; those of a function's result too."""
    picture = content.Blob(mime_type="image/png", data=b"x")
    answer = content.FunctionResponse(
        name="f", parts=[content.FunctionResponsePart(inline_data=picture)]
    )
    parts = [
        content.Part(inline_data=picture),
        content.Part(function_response=answer),
        content.Part(file_data=content.FileData(file_uri="https://x/y")),
        content.Part(
            file_data=content.FileData(file_uri="https://x/y", mime_type="audio/mpeg"),
            video_metadata=content.VideoMetadata(
                start_offset=Duration(seconds=5), end_offset=Duration(seconds=15)
            ),
        ),
        content.Part(inline_data=content.Blob(mime_type="text/plain", data=b"four")),
    ]
    found = await count(contents=[say(*parts)])
    assert {
        TEXT: 1 + len("f") + len("{}") + 4,
        content.MODALITY_IMAGE: 2 * 258,
        content.MODALITY_VIDEO: 60 * 263,
        content.MODALITY_AUDIO: 320,
    } == found.by_modality
    assert 1 == found.at_least


async def test_declared_functions_are_counted() -> None:
    """Names, descriptions and schemas count, whichever way a schema is given; `$ref` is words."""
    cycle = {"$ref": "#/$defs/a", "$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}}
    declared = [
        content.FunctionDeclaration(name="f", description="does", parameters=struct(cycle)),
        content.FunctionDeclaration(name="g", parameters_json_schema_text=json.dumps(cycle)),
    ]
    found = await count(prompt="a", tools=[content.Tool(function_declarations=declared)])
    written = len(json.dumps(cycle, separators=(",", ":"))), len(json.dumps(cycle))
    assert 2 + 2 * 8 + len("fdoesg") + sum(written) == found.total


async def test_large_objects_take_no_time() -> None:
    """A schema of megabytes is counted by its size, at once."""
    wide = struct({f"field{number}": {"type": "STRING"} for number in range(60_000)})
    declared = content.FunctionDeclaration(name="f", parameters=wide)
    tools = [content.Tool(function_declarations=[declared])]
    part = content.Part(function_response=content.FunctionResponse(name="f", response=wide))
    request = pb.ExecuteRequest(model=MODEL, contents=[say(part)], tools=tools)
    counter = counter_of(Characters())
    begun = time.thread_time()
    found = await counter.request(request)
    assert 0.1 > time.thread_time() - begun
    assert 2 * wide.ByteSize() // 3 < found.total


async def test_without_a_tokenizer_all_is_estimated() -> None:
    """A token for three bytes; certain is only what the longest token allows."""
    request = pb.ExecuteRequest(model=MODEL, prompt="x" * 300)
    found = await counter_of(NoTokenizer()).request(request)
    assert (False, 101, 11) == (found.exact, found.total, found.at_least)


async def test_half_a_character_is_counted() -> None:
    """Inline text that is no UTF-8 neither fails nor hangs."""
    blob = content.Blob(mime_type="text/plain", data=b"\xff\xfea\xc3")
    assert 5 == (await count(contents=[say(content.Part(inline_data=blob))])).total


@pytest.mark.parametrize(
    ("model", "generation"),
    [
        ("gemini-2.5-flash-lite", 2.5),
        ("models/gemini-3-flash-preview", 3.0),
        ("gemini-3.8-flash", 3.8),
        ("gemini-4-argon", 4.0),
        ("gemini-flash-latest", 3.0),
        ("gemini-exp-1206", 3.0),
        ("gemini-embedding-001", 0.0),
        ("text-embedding-004", 0.0),
        ("gemma-3-27b-it", 0.0),
        ("tunedModels/mine", 0.0),
    ],
)
def test_generations(model: str, generation: float) -> None:
    """A model's generation stands in its name."""
    assert generation == generation_of(model)


async def test_the_answer_says_how_it_was_counted() -> None:
    """CountTokens gets the total, the kinds of media, and whether that is exact."""
    response = (await count(prompt="hello")).response(MODEL)
    assert (
        pb.CountTokensResponse(
            total_tokens=6,
            prompt_tokens_details=[content.ModalityTokenCount(modality=TEXT, token_count=6)],
            method=pb.TOKEN_COUNT_METHOD_EXACT,
            model=MODEL,
        )
        == response
    )


async def test_every_count_can_be_told() -> None:
    """Media whose headers claim the most there is, by the hundreds, still make an answer."""
    video = content.Part(inline_data=content.Blob(mime_type="video/mp4", data=b"x"))
    video.video_metadata.end_offset.seconds = 315_576_000_000
    sound = content.Part(inline_data=content.Blob(mime_type="audio/mpeg", data=b"x"))
    sound.video_metadata.end_offset.seconds = 315_576_000_000
    found = await count(contents=[say(*[video, sound] * 200)])
    assert 2**29 + 1 == found.response(MODEL).total_tokens
