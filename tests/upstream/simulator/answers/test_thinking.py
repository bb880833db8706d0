"""Thoughts and their signatures.

Covers: upstream/simulator/requests/signatures.py
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.upstream.simulator.talker import Build, Json, Talker

TOOLS = [{"functionDeclarations": [{"name": "get_weather", "parameters": {"type": "OBJECT"}}]}]


def _turns(gemini_parts: list[Json]) -> list[Json]:
    return [
        {"role": "user", "parts": [{"text": "Use get_weather for Paris"}]},
        {"role": "model", "parts": gemini_parts},
        {
            "role": "user",
            "parts": [{"functionResponse": {"name": "get_weather", "response": {"sky": "clear"}}}],
        },
    ]


async def test_thoughts_are_shown_when_asked_for(gemini: Talker, ask: Build) -> None:
    """IncludeThoughts adds parts that are marked as thoughts, and they are counted apart."""
    hidden = (await gemini.generate("Why is the sky blue?")).json
    parts = hidden["candidates"][0]["content"]["parts"]
    assert not any(part.get("thought") for part in parts)
    assert hidden["usageMetadata"]["thoughtsTokenCount"] > 0
    shown = ask("Why is the sky blue?", thinkingConfig={"includeThoughts": True})
    parts = (await gemini.generate(shown)).json["candidates"][0]["content"]["parts"]
    assert [True, None] == [part.get("thought") for part in parts]


async def test_thoughts_come_first_in_a_stream(gemini: Talker, ask: Build) -> None:
    """The first chunks are thoughts and have no candidate tokens yet."""
    request = ask("Why is the sky blue?", thinkingConfig={"includeThoughts": True})
    events = (await gemini.stream(request)).events
    first = events[0]
    assert first["candidates"][0]["content"]["parts"][0]["thought"]
    assert "candidatesTokenCount" not in first["usageMetadata"]
    last = events[-1]["candidates"][0]["content"]["parts"]
    assert "" == last[0]["text"]
    assert last[0]["thoughtSignature"]


async def test_a_budget_of_zero_stops_thinking(gemini: Talker, ask: Build) -> None:
    """Without thinking there are no thought tokens."""
    request = ask("Hello", thinkingConfig={"thinkingBudget": 0})
    usage = (await gemini.generate(request, "gemini-2.5-flash")).json["usageMetadata"]
    assert "thoughtsTokenCount" not in usage


async def test_more_effort_thinks_more(gemini: Talker, ask: Build) -> None:
    """A higher level thinks longer."""
    used = []
    for level in ("LOW", "MEDIUM", "HIGH"):
        request = ask("Hello", thinkingConfig={"thinkingLevel": level})
        usage = (await gemini.generate(request)).json["usageMetadata"]
        used.append(usage["thoughtsTokenCount"])
    assert sorted(set(used)) == used


async def test_a_call_must_come_back_with_its_signature(gemini: Talker) -> None:
    """Gemini 3 refuses a turn whose function call has lost its signature, and says where."""
    first = {"contents": _turns([])[:1], "tools": TOOLS}
    parts = (await gemini.generate(first)).json["candidates"][0]["content"]["parts"]
    assert parts[0]["thoughtSignature"]
    good = await gemini.generate({"contents": _turns(parts), "tools": TOOLS})
    assert 200 == good.status
    lost = [{"functionCall": parts[0]["functionCall"]}]
    bad = await gemini.generate({"contents": _turns(lost), "tools": TOOLS})
    assert 400 == bad.status
    message = bad.json["error"]["message"]
    assert message.startswith("Function call is missing a thought_signature in functionCall parts")
    assert "`default_api:get_weather` , position 2." in message


async def test_older_models_do_not_demand_signatures(gemini: Talker) -> None:
    """Before Gemini 3 a call without a signature is fine."""
    lost = [{"functionCall": {"name": "get_weather", "args": {}}}]
    answer = await gemini.generate({"contents": _turns(lost), "tools": TOOLS}, "gemini-2.5-flash")
    assert 200 == answer.status


async def test_only_the_current_turn_needs_signatures(gemini: Talker) -> None:
    """Calls before the user's last text are not checked."""
    turns = [
        *_turns([{"functionCall": {"name": "get_weather", "args": {}}}]),
        {"role": "model", "parts": [{"text": "Clear."}]},
        {"role": "user", "parts": [{"text": "Thanks"}]},
    ]
    assert 200 == (await gemini.generate({"contents": turns, "tools": TOOLS})).status


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
async def test_a_changed_signature_is_refused(
    gemini: Talker, encode: Callable[[bytes], bytes]
) -> None:
    """One changed byte is noticed; either alphabet of base64 will do."""
    first = {"contents": _turns([])[:1], "tools": TOOLS}
    part = (await gemini.generate(first)).json["candidates"][0]["content"]["parts"][0]
    raw = base64.b64decode(part["thoughtSignature"])
    for changed, status in ((raw, 200), (raw[:-1] + bytes([raw[-1] ^ 1]), 400)):
        parts = [{**part, "thoughtSignature": encode(changed).decode()}]
        answer = await gemini.generate({"contents": _turns(parts), "tools": TOOLS})
        assert status == answer.status


async def test_foreign_signatures_pass(gemini: Talker) -> None:
    """The documented placeholder for calls from elsewhere is accepted."""
    skip = base64.b64encode(b"skip_thought_signature_validator").decode()
    parts = [{"functionCall": {"name": "get_weather", "args": {}}, "thoughtSignature": skip}]
    assert 200 == (await gemini.generate({"contents": _turns(parts), "tools": TOOLS})).status
