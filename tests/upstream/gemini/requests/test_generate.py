"""Requests as Gemini takes them.

Covers: upstream/gemini/requests/addresses.py, upstream/gemini/translation/names.py,
upstream/gemini/translation/proto_to_json.py, upstream/gemini/translation/shapes.py
"""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.errors import InvalidRequest
from gemini_backend.upstream.base import EmbedBatch
from gemini_backend.upstream.gemini.requests import addresses, embeddings, generate

BASE = "https://x.test"


def written(**fields: Any) -> Any:
    """Return the JSON of a request with these fields."""
    request = ParseDict({"prompt": "hi", "model": "models/m", **fields}, pb.ExecuteRequest())
    return json.loads(generate.generate(request))


def test_a_prompt_is_one_turn_of_the_user() -> None:
    """And nothing else is sent that was not asked for."""
    expected = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
    assert expected == written(labels={"team": "a"}, request_id="r", session="sessions/s")


def test_every_kind_of_part() -> None:
    """Names in camel case, bytes in base64, empty objects kept."""
    parts = [
        {"text": ""},
        {"inline_data": {"mime_type": "image/png", "data": "+/8="}},
        {"file_data": {"file_uri": "https://f.test"}, "video_metadata": {"fps": 2}},
        {"function_call": {"name": "f", "args": {}}, "thought_signature": "AAE="},
        {"function_response": {"name": "f", "id": "1", "response": {"n": 1, "x": [1.5, None]}}},
        {"executable_code": {"language": "CODE_LANGUAGE_PYTHON", "code": "1"}},
        {"code_execution_result": {"outcome": "CODE_OUTCOME_OK", "output": "1"}},
        {"text": "t", "thought": True, "media_resolution": "MEDIA_RESOLUTION_HIGH"},
        {
            "text": "u",
            "media_resolution_raw": "MEDIA_RESOLUTION_NEW",
            "extra": {"partMetadata": {}},
        },
    ]
    request = pb.ExecuteRequest(contents=[ParseDict({"parts": parts}, content.Content())])
    assert [
        {"text": ""},
        {"inlineData": {"mimeType": "image/png", "data": "+/8="}},
        {"fileData": {"fileUri": "https://f.test"}, "videoMetadata": {"fps": 2.0}},
        {"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "AAE="},
        {"functionResponse": {"name": "f", "id": "1", "response": {"n": 1, "x": [1.5, None]}}},
        {"executableCode": {"language": "PYTHON", "code": "1"}},
        {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}},
        {"text": "t", "thought": True, "mediaResolution": {"level": "MEDIA_RESOLUTION_HIGH"}},
        {"text": "u", "mediaResolution": {"level": "MEDIA_RESOLUTION_NEW"}, "partMetadata": {}},
    ] == json.loads(generate.generate(request))["contents"][0]["parts"]


def test_fields_stand_in_the_order_of_the_contract() -> None:
    """Not in that of their numbers, which may be younger: as Gemini's documentation has them."""
    part = ParseDict(
        {
            "file_data": {"file_uri": "u", "mime_type": "video/*"},
            "video_metadata": {
                "start_offset": "1.5s",
                "end_offset": "60s",
                "fps": 0.5,
                "extra": {"x": 1},
            },
        },
        content.Part(),
    )
    sent = generate.generate(pb.ExecuteRequest(contents=[content.Content(parts=[part])]))
    expected = b'"videoMetadata":{"startOffset":"1.5s","endOffset":"60s","fps":0.5,"x":1}'
    assert expected in sent


def test_generation_settings() -> None:
    """Zeroes that were set are sent, enums by Gemini's words, nested shapes as Gemini has them."""
    config = {
        "temperature": 0,
        "top_k": 3,
        "stop_sequences": ["END"],
        "response_modalities": ["MODALITY_TEXT", "MODALITY_IMAGE"],
        "media_resolution": "MEDIA_RESOLUTION_LOW",
        "thinking_config": {"thinking_level": "THINKING_LEVEL_LOW", "include_thoughts": False},
        "speech_config": {
            "voice_name": "Kore",
            "language_code": "en-US",
            "speaker_voices": [{"speaker": "Ann", "voice_name": "Puck"}],
        },
        "image_config": {"aspect_ratio": "16:9"},
        "extra": {"enableEnhancedCivicAnswers": True},
    }
    voice = {"prebuiltVoiceConfig": {"voiceName": "Puck"}}
    assert {
        "temperature": 0,
        "topK": 3,
        "stopSequences": ["END"],
        "responseModalities": ["TEXT", "IMAGE"],
        "mediaResolution": "MEDIA_RESOLUTION_LOW",
        "thinkingConfig": {"thinkingLevel": "LOW", "includeThoughts": False},
        "speechConfig": {
            "voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Kore"}},
            "languageCode": "en-US",
            "multiSpeakerVoiceConfig": {
                "speakerVoiceConfigs": [{"speaker": "Ann", "voiceConfig": voice}]
            },
        },
        "imageConfig": {"aspectRatio": "16:9"},
        "enableEnhancedCivicAnswers": True,
    } == written(generation_config=config)["generationConfig"]


def test_tools_and_safety() -> None:
    """Empty tools stay, modes and thresholds are Gemini's words, raw twins win."""
    found = written(
        tools=[{"google_search": {}}, {"code_execution": {}}, {"extra": {"newTool": {"a": 1}}}],
        tool_config={
            "function_calling_config": {
                "mode": "FUNCTION_CALLING_MODE_ANY",
                "allowed_function_names": ["f"],
            },
            "retrieval_config": {"latitude": 0, "longitude": -1.5, "language_code": "de"},
        },
        safety_settings=[
            {
                "category": "HARM_CATEGORY_HATE_SPEECH",
                "threshold": "HARM_BLOCK_THRESHOLD_BLOCK_NONE",
            },
            {"category_raw": "HARM_CATEGORY_NEW", "threshold_raw": "BLOCK_SOME"},
        ],
        cached_content="cachedContents/c",
        system_instruction={"parts": [{"text": "s"}]},
        extra={"serviceTier": "flex"},
    )
    del found["contents"]
    assert {
        "tools": [{"googleSearch": {}}, {"codeExecution": {}}, {"newTool": {"a": 1}}],
        "toolConfig": {
            "functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]},
            "retrievalConfig": {
                "latLng": {"latitude": 0, "longitude": -1.5},
                "languageCode": "de",
            },
        },
        "safetySettings": [
            {"category": "HARM_CATEGORY_HATE_SPEECH", "threshold": "BLOCK_NONE"},
            {"category": "HARM_CATEGORY_NEW", "threshold": "BLOCK_SOME"},
        ],
        "cachedContent": "cachedContents/c",
        "systemInstruction": {"parts": [{"text": "s"}]},
        "serviceTier": "flex",
    } == found


def test_a_schema_as_text_is_handed_on_to_the_letter() -> None:
    """Its keys keep their order; the JSON of it is not written anew."""
    schema = '{"type":"object","properties":{"z":{"$ref":"#/$defs/n"},"a":{"enum":[1.0]}}}'
    config = {"response_json_schema_text": schema}
    request = ParseDict({"prompt": "x", "generation_config": config}, pb.ExecuteRequest())
    assert b'"responseJsonSchema":' + schema.encode() in generate.generate(request)
    tool = {"function_declarations": [{"name": "f", "parameters_json_schema_text": schema}]}
    request = ParseDict({"prompt": "x", "tools": [tool]}, pb.ExecuteRequest())
    assert b'"parametersJsonSchema":' + schema.encode() in generate.generate(request)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        (
            {"generation_config": {"response_json_schema_text": "{"}},
            "generation_config.response_json_schema_text",
        ),
        (
            {"generation_config": {"response_json_schema_text": "[1]"}},
            "generation_config.response_json_schema_text",
        ),
        (
            {"tools": [{"function_declarations": [{"parameters_json_schema_text": "x"}]}]},
            "tools[0].function_declarations[0].parameters_json_schema_text",
        ),
        ({"extra": {"contents": []}}, "extra"),
        ({"extra": {"system_instruction": {}}}, "extra"),
        ({"generation_config": {"top_k": 1, "extra": {"top_k": 2}}}, "generation_config.extra"),
        (
            {"generation_config": {"response_modalities": [77]}},
            "generation_config.response_modalities[0]",
        ),
        ({"generation_config": {"temperature": "NaN"}}, "generation_config.temperature"),
    ],
)
def test_what_cannot_be_written_is_refused_by_name(fields: dict[str, Any], field: str) -> None:
    """The violation names the field where it stands."""
    with pytest.raises(InvalidRequest) as refused:
        written(**fields)
    assert [field] == [violation.field for violation in refused.value.violations]


def test_numbers_that_json_has_not_are_refused_in_free_form_too() -> None:
    """NaN within the arguments of a call names them."""
    args = Struct()
    args["x"] = math.nan
    part = content.Part(function_call=content.FunctionCall(name="f", args=args))
    request = pb.ExecuteRequest(contents=[content.Content(parts=[part])])
    with pytest.raises(InvalidRequest, match=r"contents\[0\]\.parts\[0\]\.function_call\.args"):
        generate.generate(request)


def test_counting_names_the_model_only_where_it_must() -> None:
    """Contents alone go as they are; anything beyond them in a whole request."""
    request = pb.CountTokensRequest(prompt="x", model="models/m")
    frame = {"contents": [{"role": "user", "parts": [{"text": "x"}]}]}
    assert frame == json.loads(generate.count_tokens(request))
    request.system_instruction.parts.add(text="s")
    assert {
        "generateContentRequest": {
            "model": "models/m",
            **frame,
            "systemInstruction": {"parts": [{"text": "s"}]},
        }
    } == json.loads(generate.count_tokens(request))


def test_all_that_is_counted_is_sent() -> None:
    """Cached content, safety settings and fields without a name; what is ours stays here."""
    request = pb.CountTokensRequest(
        prompt="x",
        model="models/m",
        cached_content="cachedContents/c",
        counting=pb.TOKEN_COUNTING_UPSTREAM,
        extra_json='{"new":1.0}',
    )
    request.safety_settings.add(category_raw="HARM_CATEGORY_NEW", threshold_raw="OFF")
    found = json.loads(generate.count_tokens(request))["generateContentRequest"]
    del found["contents"]
    assert {
        "model": "models/m",
        "cachedContent": "cachedContents/c",
        "safetySettings": [{"category": "HARM_CATEGORY_NEW", "threshold": "OFF"}],
        "new": 1.0,
    } == found


def embedded(**fields: Any) -> Any:
    """Return the one request of a batch that embeds a text with these fields."""
    content_ = content.Content(parts=[content.Part(text="x")])
    request = pb.EmbedRequest(contents=[content_], **fields)
    (one,) = json.loads(embeddings.body(EmbedBatch("models/e", [request])))["requests"]
    return one


def test_all_that_goes_with_a_content_is_sent() -> None:
    """Each field of a request for vectors by Gemini's name, zeroes that were set included."""
    assert {
        "model": "models/e",
        "content": {"parts": [{"text": "x"}]},
        "taskType": "RETRIEVAL_DOCUMENT",
        "title": "t",
        "outputDimensionality": 8,
        "mimeType": "text/plain",
        "autoTruncate": False,
        "documentOcr": True,
        "audioTrackExtraction": False,
        "new": 1,
    } == embedded(
        task_type=pb.EMBED_TASK_TYPE_RETRIEVAL_DOCUMENT,
        title="t",
        output_dimensionality=8,
        mime_type="text/plain",
        auto_truncate=False,
        document_ocr=True,
        audio_track_extraction=False,
        extra_json='{"new":1}',
    )
    assert "NOVEL" == embedded(task_type_raw="NOVEL")["taskType"]


@pytest.mark.parametrize("name", ["model", "content", "title"])
def test_what_has_a_field_does_not_go_by_extra_of_embed(name: str) -> None:
    """It is refused by name, and never sent in place of what was asked."""
    with pytest.raises(InvalidRequest, match="extra_json"):
        embedded(title="t", extra_json=f'{{"{name}":"other"}}')


def test_addresses() -> None:
    """Tuned models have a collection of their own; a base address may have a path."""
    found = [
        str(addresses.of_model(base, "v1beta", model, "countTokens"))
        for base, model in [
            (BASE, "models/m-1.5"),
            (f"{BASE}/gemini/", "m"),
            (BASE, "tunedModels/t"),
        ]
    ]
    assert [
        f"{BASE}/v1beta/models/m-1.5:countTokens",
        f"{BASE}/gemini/v1beta/models/m:countTokens",
        f"{BASE}/v1beta/tunedModels/t:countTokens",
    ] == found


@pytest.mark.parametrize("model", ["", "../x", "models/a/b", "m?key=1", "m#", "m%2F", "m\n", "é"])
def test_a_model_that_is_no_name_never_reaches_an_address(model: str) -> None:
    """It is refused, not escaped."""
    with pytest.raises(InvalidRequest):
        addresses.of_model(BASE, "v1beta", model, "generateContent")
