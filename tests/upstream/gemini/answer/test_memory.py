"""What was handed on of an answer is not kept."""

from __future__ import annotations

import json
import os
from pathlib import Path

from gemini_backend.upstream.gemini.answer.stream_answer import AnswerStream
from gemini_backend.upstream.gemini.failure.classification import Failures

TEXT = "x" * 50_000
EVENTS = 2_000
MOST = 40 * 1024 * 1024


def resident() -> int:
    """Return the resident bytes of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def event(number: int) -> bytes:
    """Return one of Gemini's events: a text, and counts that grow."""
    content = {"role": "model", "parts": [{"text": TEXT}]}
    usage = {"promptTokenCount": 5, "candidatesTokenCount": number, "totalTokenCount": number + 5}
    return json.dumps({"candidates": [{"content": content}], "usageMetadata": usage}).encode()


def test_a_long_answer_takes_no_more_memory_than_its_last_event() -> None:
    """A hundred megabytes of text pass, an event at a time, and none of it stays."""
    answer = AnswerStream("models/m", Failures(), merge=False)
    for number in range(1, 20):
        answer.feed([event(number)])
    before = resident()
    for number in range(20, EVENTS):
        assert 1 == len(answer.feed([event(number)]))
    assert resident() - before < MOST
