"""Streams with usage as Gemini reports it, and what a stream has used by them."""

from __future__ import annotations

import json
from typing import Any

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.upstream.gemini.answer.stream_answer import AnswerStream
from gemini_backend.upstream.gemini.failure.classification import Failures

EXACT, ESTIMATED = content.USAGE_QUALITY_EXACT, content.USAGE_QUALITY_ESTIMATED
TEXT = {"text": "some "}
CODE = {"executableCode": {"language": "PYTHON", "code": "print(1)"}}
RESULT = {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}}
CALL = {"toolCall": {"toolType": "FILE_SEARCH", "args": {}}}
FOUND = {"toolResponse": {"toolType": "FILE_SEARCH", "response": {}}}


def counts(
    prompt: int | None = None,
    answer: int | None = None,
    thoughts: int | None = None,
    tools: int | None = None,
    total: int | None = None,
    **more: Any,
) -> dict[str, Any]:
    """Return usage as Gemini writes it, which adds up where no total is given."""
    parts = {
        "promptTokenCount": prompt,
        "candidatesTokenCount": answer,
        "thoughtsTokenCount": thoughts,
        "toolUsePromptTokenCount": tools,
    }
    told = {name: value for name, value in parts.items() if value is not None}
    added = sum(told.values()) if total is None else total
    return {**told, "totalTokenCount": added, **more}


def events(*found: tuple[dict[str, Any], dict[str, Any] | None]) -> list[dict[str, Any]]:
    """Return a stream's events, a part and its usage each; the last one has finished."""
    made = []
    for part, usage in found:
        one: dict[str, Any] = {
            "candidates": [{"content": {"parts": [part], "role": "model"}, "index": 0}],
            "modelVersion": "m-001",
        }
        if usage is not None:
            one["usageMetadata"] = usage
        made.append(one)
    made[-1]["candidates"][0]["finishReason"] = "STOP"
    return made


def completed(
    *found: tuple[dict[str, Any], dict[str, Any] | None], merge: bool = False
) -> pb.Completed:
    """Return the last event of a stream."""
    answer = AnswerStream("models/m", Failures(), merge=merge)
    answer.feed([json.dumps(one).encode() for one in events(*found)])
    assert answer.failure is None
    return answer.finish()[-1].completed


def used(
    *found: tuple[dict[str, Any], dict[str, Any] | None],
) -> tuple[int, int, int, int, int, int]:
    """Return prompt, answer, thoughts, tools, total, quality; the same however reads come."""
    both = {
        (
            done.usage.prompt_token_count,
            done.usage.candidates_token_count,
            done.usage.thoughts_token_count,
            done.usage.tool_use_prompt_token_count,
            done.usage.total_token_count,
            done.usage.quality,
        )
        for done in (completed(*found), completed(*found, merge=True))
    }
    assert 1 == len(both)
    return both.pop()


FULL = counts(100, 50, 20)
