"""Answers with fields that nobody expects: nothing breaks, nothing is lost.

Covers: upstream/gemini/answer/answer_identity.py, upstream/gemini/answer/unary_answer.py,
upstream/gemini/translation/json_to_proto.py
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.errors import AnswerBlocked, ServiceError
from gemini_backend.upstream.gemini.answer import unary_answer
from gemini_backend.upstream.gemini.failure.classification import Failures
from tests.support.messages import gemini_json
from tests.upstream.gemini.answer.test_stream_answer import HEAD, event, run

STRANGE: list[dict[str, Any]] = [
    {"candidates": [{"content": {"parts": [{"text": "a", "mood": "glad"}]}, "index": "0"}]},
    {"candidates": [{"content": {"parts": [{"text": "a"}], "x": {}}, "new": [1, {"y": None}]}]},
    {"candidates": [{"content": {"parts": [{"text": "a"}]}, "safetyRatings": []}], "t": True},
    {"candidates": [{"content": {"parts": [{"text": "a", "functionCall": {"name": "f"}}]}}]},
    {"candidates": [{"content": {"parts": [{"functionCall": {"name": "", "args": {}}}]}}]},
    {"candidates": [{"content": {"parts": [{"thoughtSignature": "a_b=", "text": "a"}]}}]},
    {"candidates": [{"content": {"parts": [{"inlineData": {"mimeType": "a/b", "data": "!"}}]}}]},
    {"candidates": [{"content": {"parts": [{"newKind": {"deep": [[[]]]}}]}}]},
    {"candidates": [{"content": {"parts": [{"text": "a"}]}, "finishReason": 7}]},
    {"candidates": [{"content": {"parts": [{"text": "a"}]}, "index": 2**40}]},
    {"candidates": [{"content": {"parts": [{"text": "a"}]}}], "createTime": "yesterday"},
    {
        "candidates": [{"content": {"parts": [{"text": "a"}]}}],
        "usageMetadata": {"promptTokenCount": "3"},
    },
    {
        "candidates": [
            {
                "content": {"parts": [{"text": "a", "mediaResolution": {"level": "X", "n": 1}}]},
                "groundingMetadata": {"groundingChunks": [{"web": {}, "maps": {}}, {}]},
                "citationMetadata": {"citations": [{"uri": "u"}]},
                "safetyRatings": [{"category": "NEW", "probability": "HIGH", "score": 0.5}],
            }
        ],
        "usageMetadata": {"promptTokensDetails": [{"modality": "SMELL", "tokenCount": 1}]},
    },
]


@pytest.mark.parametrize("found", STRANGE)
def test_strange_fields_break_nothing_and_are_kept(found: dict[str, Any]) -> None:
    """Whatever an event holds, it can be rebuilt."""
    end = {"candidates": [{"finishReason": "STOP"}]}
    events, _ = run(found, end, merge=True)
    events = [pb.ExecuteResponse.FromString(e.SerializeToString()) for e in events]
    assert found == gemini_json.of_stream(events)[0]
    if found["candidates"][0].get("finishReason") is None:
        response = unary_answer.response(json.dumps(found).encode(), "models/m", Failures())
        assert found == gemini_json.of_process(response)


@pytest.mark.parametrize("at", [0, 1])
@pytest.mark.parametrize("level", ["candidates", "parts"])
def test_a_null_among_parts_or_candidates_loses_nothing_else(level: str, at: int) -> None:
    """What stands beside a null is an answer: it is not thrown away and paid for again."""
    parts: list[Any] = [{"text": "a"}]
    candidates: list[Any] = [{"content": {"parts": parts}, "finishReason": "STOP"}]
    plain = {"candidates": [{**candidates[0], "content": {"parts": list(parts)}}]}
    (parts if level == "parts" else candidates).insert(at, None)
    events, _ = run({"candidates": candidates}, merge=True)
    assert plain == gemini_json.of_stream(events)[0]
    body = json.dumps({"candidates": candidates}).encode()
    assert plain == gemini_json.of_process(unary_answer.response(body, "models/m", Failures()))


def test_arguments_too_deep_for_a_struct_come_as_text_alone() -> None:
    """A Struct of so many levels could be read by no client; the exact text can."""
    deep: Any = {}
    for _ in range(60):
        deep = {"a": deep}
    call = {"functionCall": {"name": "f", "args": deep}}
    end = event(finishReason="STOP")
    events, error = run(event(content={"parts": [call]}), end)
    assert error is None
    found = events[1].delta.parts[0].function_call
    assert deep == json.loads(found.args_json)
    assert not found.HasField("args")
    events, error = run(event(content={"parts": [{"text": "a", "new": deep}]}), end)
    assert error is None
    part = events[1].delta.parts[0]
    assert {"new": deep} == json.loads(part.extra_json)
    assert not part.HasField("extra")


RICH: dict[str, Any] = {
    "candidates": [
        {
            "content": {
                "parts": [
                    {"text": "a", "thoughtSignature": "AAAA"},
                    {"functionCall": {"id": "1", "name": "f", "args": {"x": 1}}},
                    {"inlineData": {"mimeType": "a/b", "data": "AAAA"}},
                    {"executableCode": {"language": "PYTHON", "code": "1"}},
                ],
                "role": "model",
            },
            "finishReason": "STOP",
            "finishMessage": "m",
            "index": 0,
            "safetyRatings": [
                {"category": "HARM_CATEGORY_JAILBREAK", "probability": "LOW", "blocked": False}
            ],
            "groundingMetadata": {
                "groundingChunks": [{"web": {"uri": "u", "title": "t"}}],
                "groundingSupports": [{"segment": {"endIndex": 3}, "confidenceScores": [0.5]}],
            },
            "logprobsResult": {"chosenCandidates": [{"token": "a", "logProbability": -0.5}]},
            "avgLogprobs": -0.5,
        }
    ],
    "usageMetadata": {
        "promptTokenCount": 1,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 1}],
    },
    "promptFeedback": {"safetyRatings": [{"category": "X", "probability": "Y"}]},
    "createTime": "2026-03-21T18:11:55.919086Z",
    **HEAD,
}
ANYTHING = st.sampled_from(
    [
        True,
        0,
        -1,
        2**40,
        0.5,
        "",
        "x",
        "STOP",
        [],
        [[]],
        [{}],
        [1, "a"],
        {},
        {"text": "b"},
        {"level": "L"},
        {"extra": {"a": 1}},
        {"parts": []},
        "AAA=",
        "TEXT",
    ]
)


def mutated(value: Any, data: st.DataObject) -> Any:
    """Return the value with something at one place replaced, added or left out."""
    if not isinstance(value, dict | list) or not value or data.draw(st.booleans()):
        return data.draw(ANYTHING)
    if isinstance(value, list):
        at = data.draw(st.integers(0, len(value) - 1))
        return [*value[:at], mutated(value[at], data), *value[at + 1 :]]
    key = data.draw(st.sampled_from([*value, "added"]))
    if data.draw(st.booleans()):
        return {name: item for name, item in value.items() if name != key}
    return {**value, key: mutated(value.get(key), data)}


def whole_again(body: bytes) -> dict[str, Any] | None:
    """Return an answer as rebuilt from the response or the failure; None where it was refused."""
    try:
        response = unary_answer.response(body, "models/m", Failures())
    except AnswerBlocked as error:
        return gemini_json.of_failure(error)
    except ServiceError:
        return None
    return gemini_json.of_process(pb.ProcessResponse.FromString(response.SerializeToString()))


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.data())
def test_whatever_changes_in_an_answer_is_kept(data: st.DataObject) -> None:
    """An answer like Gemini's with anything at any place can be rebuilt, or fails typed."""
    found = mutated(RICH, data)
    if not isinstance(found, dict):
        return
    rebuilt = whole_again(json.dumps(found).encode())
    assert rebuilt in (None, found)
    events, error = run(found, merge=True)
    if error is None:
        assert [found] == gemini_json.of_stream(events)
