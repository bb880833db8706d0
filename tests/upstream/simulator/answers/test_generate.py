"""Whole answers and streams.

Covers: upstream/simulator/answers/respond.py, upstream/simulator/answers/usage.py,
upstream/simulator/exchange.py, upstream/simulator/tokens.py, upstream/simulator/wire.py
"""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.upstream.simulator.talker import Build, Clock, Json, Talker


def _total(usage: Json) -> int:
    names = ("prompt", "candidates", "thoughts", "toolUsePrompt")
    return sum(usage.get(f"{name}TokenCount", 0) for name in names)


async def test_an_answer_has_the_recorded_shape(gemini: Talker) -> None:
    """A whole answer has a candidate, a finish reason, usage, model version and an id."""
    answer = await gemini.generate("Write a haiku about rivers")
    body = answer.json
    assert 200 == answer.status
    assert {"candidates", "usageMetadata", "modelVersion", "responseId"} == set(body)
    candidate = body["candidates"][0]
    assert "model" == candidate["content"]["role"]
    assert "STOP" == candidate["finishReason"]
    assert 0 == candidate["index"]
    assert "gemini-3.5-flash" == body["modelVersion"]
    assert 3 == len(answer.text.splitlines())


async def test_headers_are_geminis(gemini: Talker) -> None:
    """Whole answers are JSON in UTF-8, chunked, with server-timing and three Vary headers."""
    answer = await gemini.generate("Hello")
    assert "application/json; charset=UTF-8" == answer.headers["content-type"]
    assert answer.headers["server-timing"].startswith("gfet4t7; dur=")
    assert ["Origin", "X-Origin", "Referer"] == answer.headers.getall("vary")
    assert "chunked" == answer.headers["transfer-encoding"]


async def test_equal_requests_get_equal_answers(gemini: Talker) -> None:
    """The text depends on the request alone, the response's id does not."""
    first, second = [await gemini.generate("Tell me about bees") for _ in range(2)]
    assert first.text == second.text
    assert first.json["responseId"] != second.json["responseId"]
    other = await gemini.generate("Tell me about ants")
    assert first.text != other.text


async def test_a_stream_says_what_the_whole_answer_says(gemini: Talker) -> None:
    """Chunks joined are the whole answer, and end with the same usage."""
    request = "Explain how rivers shape the land"
    whole, stream = await gemini.generate(request), await gemini.stream(request)
    assert len(stream.events) > 3
    assert whole.text == stream.text
    assert whole.json["usageMetadata"] == stream.events[-1]["usageMetadata"]


async def test_a_stream_is_framed_as_recorded(gemini: Talker) -> None:
    """Events are one data line and CRLF; there is no [DONE], no name and no id."""
    stream = await gemini.stream("Hello there")
    assert "text/event-stream" == stream.headers["content-type"]
    assert "attachment" == stream.headers["content-disposition"]
    *events, rest = stream.body.split(b"\r\n\r\n")
    assert b"" == rest
    assert all(event.startswith(b"data: {") and b"\n" not in event for event in events)


@pytest.mark.parametrize("model", ["gemini-2.5-flash", "gemini-3.5-flash", "gemma-3-27b-it"])
async def test_usage_is_cumulative_and_adds_up(gemini: Talker, model: str) -> None:
    """Every chunk has usage; it never falls, its sum is right; only the last chunk finishes."""
    events = (await gemini.stream("What is the capital of France?", model)).events
    totals = [event["usageMetadata"]["totalTokenCount"] for event in events]
    assert sorted(totals) == totals
    assert [_total(event["usageMetadata"]) for event in events] == totals
    finished = ["finishReason" in event["candidates"][0] for event in events]
    assert [False] * (len(events) - 1) + [True] == finished
    assert 1 == len({event["responseId"] for event in events})


async def test_without_alt_sse_a_stream_is_one_json_array(gemini: Talker, ask: Build) -> None:
    """The default of the REST API is a JSON array of the same chunks."""
    sse = await gemini.stream("Hello there")
    path = "/v1beta/models/gemini-3.5-flash:streamGenerateContent"
    array = await gemini.send("POST", path, ask("Hello there"))
    assert "application/json; charset=UTF-8" == array.headers["content-type"]
    assert [e["candidates"] for e in sse.events] == [e["candidates"] for e in array.json]


async def test_an_array_stream_refuses_in_an_array(gemini: Talker) -> None:
    """The error of a stream comes in an array if the stream is one, else not."""
    path = "/v1beta/models/gemini-3.5-flash:streamGenerateContent"
    assert 400 == (await gemini.send("POST", path, {})).json[0]["error"]["code"]
    assert 400 == (await gemini.send("POST", path + "?alt=sse", {})).json["error"]["code"]


async def test_old_clients_query_is_accepted(gemini: Talker, ask: Build) -> None:
    """`$alt=json;enum-encoding=int` is what clients of before 2025 send."""
    path = "/v1beta/models/gemini-2.5-flash:generateContent?%24alt=json%3Benum-encoding%3Dint"
    assert 200 == (await gemini.send("POST", path, ask("Hello"))).status


@pytest.mark.parametrize("limit", [2, 5, 9, 30])
async def test_the_output_limit_is_kept(gemini: Talker, ask: Build, limit: int) -> None:
    """Thoughts and text together stay within maxOutputTokens, and the reason says so."""
    request = ask("[[length: 100]]", maxOutputTokens=limit)
    body = (await gemini.generate(request)).json
    usage = body["usageMetadata"]
    used = usage["candidatesTokenCount"] + usage.get("thoughtsTokenCount", 0)
    assert limit == used
    assert "MAX_TOKENS" == body["candidates"][0]["finishReason"]


async def test_a_stop_sequence_ends_the_text(gemini: Talker, ask: Build) -> None:
    """The text ends before the first stop sequence, even one that spans two chunks."""
    said = "[[say: one two three four five six seven eight nine ten eleven twelve thirteen]]"
    answer = await gemini.stream(ask(said, stopSequences=["nope", "n eleven tw"]))
    assert "one two three four five six seven eight nine te" == answer.text
    assert "STOP" == answer.events[-1]["candidates"][0]["finishReason"]


async def test_several_candidates(gemini: Talker, ask: Build) -> None:
    """CandidateCount answers come, each with its index and its own end."""
    request = ask("Tell me about bees", candidateCount=3)
    whole = (await gemini.generate(request)).json
    assert [0, 1, 2] == [candidate["index"] for candidate in whole["candidates"]]
    texts = {candidate["content"]["parts"][0]["text"] for candidate in whole["candidates"]}
    assert len(texts) > 1
    ends = [
        event["candidates"][0]["index"]
        for event in (await gemini.stream(request)).events
        if "finishReason" in event["candidates"][0]
    ]
    assert [0, 1, 2] == ends


async def test_earlier_turns_are_heard(gemini: Talker) -> None:
    """An answer in a conversation mentions what was said before."""
    turns = [
        {"role": "user", "parts": [{"text": "My cat is called Momo"}]},
        {"role": "model", "parts": [{"text": "Nice"}]},
        {"role": "user", "parts": [{"text": "What do cats eat?"}]},
    ]
    assert "Momo" in (await gemini.generate({"contents": turns})).text


async def test_media_are_counted_by_modality(gemini: Talker) -> None:
    """An image costs tokens of its own modality."""
    parts = [{"text": "What is this?"}, {"inlineData": {"mimeType": "image/png", "data": "aGk="}}]
    answer = await gemini.generate({"contents": [{"parts": parts}]})
    details = answer.json["usageMetadata"]["promptTokensDetails"]
    assert {"TEXT", "IMAGE"} == {item["modality"] for item in details}
    assert answer.json["usageMetadata"]["promptTokenCount"] == sum(
        item["tokenCount"] for item in details
    )


async def test_tokens_are_counted_as_they_are_billed(gemini: Talker, ask: Build) -> None:
    """CountTokens agrees with the promptTokenCount of the same request."""
    request = {**ask("How many tokens?"), "systemInstruction": {"parts": [{"text": "Be brief"}]}}
    wrapped = {"generateContentRequest": {"model": "models/gemini-3.5-flash", **request}}
    counted = (await gemini.call("countTokens", wrapped)).json
    billed = (await gemini.generate(request)).json["usageMetadata"]
    assert billed["promptTokenCount"] == counted["totalTokens"]
    assert billed["promptTokensDetails"] == counted["promptTokensDetails"]


async def test_gzip_where_asked(gemini: Talker, ask: Build) -> None:
    """A whole answer is compressed for a client that takes it, and only then."""
    path = "/v1beta/models/gemini-3.5-flash:generateContent"
    key = {"x-goog-api-key": "k"}
    zipped = await gemini.send("POST", path, ask("Hi"), {**key, "Accept-Encoding": "gzip"})
    assert "gzip" == zipped.headers["content-encoding"]
    plain = await gemini.send("POST", path, ask("Hi"), {**key, "Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    # The client has unpacked it already.
    assert not zipped.body.startswith(gzip.compress(b"")[:2])


async def test_retired_models_are_served_by_their_replacement(gemini: Talker, clock: Clock) -> None:
    """From its shutdown date on, a 2.5 model's answers bear the name of its replacement."""
    before = await gemini.generate("Hello", "gemini-2.5-flash")
    assert "gemini-2.5-flash" == before.json["modelVersion"]
    clock.now = 1_796_083_200.0
    after = await gemini.generate("Hello", "gemini-2.5-flash")
    assert "gemini-3.5-flash-lite" == after.json["modelVersion"]
