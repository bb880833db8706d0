"""Failures on demand.

Covers: upstream/simulator/faults/alter.py, upstream/simulator/faults/bodies.py,
upstream/simulator/faults/fault.py, upstream/simulator/faults/transport.py,
upstream/simulator/service.py
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import aiohttp
import msgspec
import pytest

from gemini_backend.upstream.simulator.faults import FAULTS, Fault, ScriptError
from gemini_backend.upstream.simulator.faults.fault import from_directive, from_header

if TYPE_CHECKING:
    from tests.upstream.simulator.talker import Build, Clock, Json, Talker

LONG = "[[length: 96]]"


async def _raw(
    gemini: Talker, text: str, path: str = "streamGenerateContent?alt=sse"
) -> tuple[bytes, str]:
    """The bytes that arrive before the connection ends, and how it ended."""
    url = f"{gemini.simulator.url}/v1beta/models/gemini-3.5-flash:{path}"
    body = {"contents": [{"parts": [{"text": text}]}]}
    got = b""
    async with gemini.session.post(url, json=body, headers={"x-goog-api-key": "k"}) as response:
        try:
            async for data in response.content.iter_any():
                got += data
        except aiohttp.ClientError as error:
            return got, type(error).__name__
    return got, "end"


@pytest.mark.parametrize(
    ("fault", "code", "status"),
    [
        ("invalid_argument", 400, "INVALID_ARGUMENT"),
        ("api_key_invalid", 400, "INVALID_ARGUMENT"),
        ("location", 400, "FAILED_PRECONDITION"),
        ("billing", 400, "FAILED_PRECONDITION"),
        ("service_disabled", 403, "PERMISSION_DENIED"),
        ("not_found", 404, "NOT_FOUND"),
        ("rate_limit", 429, "RESOURCE_EXHAUSTED"),
        ("rate_limit_day", 429, "RESOURCE_EXHAUSTED"),
        ("rate_limit_help", 429, "RESOURCE_EXHAUSTED"),
        ("rate_limit_bare", 429, "RESOURCE_EXHAUSTED"),
        ("cancelled", 499, "CANCELLED"),
        ("internal", 500, "INTERNAL"),
        ("overloaded", 503, "UNAVAILABLE"),
        ("deadline", 504, "DEADLINE_EXCEEDED"),
        ("error code=418 status=TEAPOT message=short", 418, "TEAPOT"),
    ],
)
@pytest.mark.parametrize("method", ["generateContent", "streamGenerateContent", "countTokens"])
async def test_error_bodies(
    gemini: Talker, method: str, fault: str, code: int, status: str
) -> None:
    """Each error has its HTTP status, its canonical name, and no Retry-After."""
    answer = await gemini.call(method, f"Hello [[fault: {fault}]]")
    error = answer.json["error"]
    assert (code, code, status) == (answer.status, error["code"], error["status"])
    assert "retry-after" not in answer.headers


async def test_the_kinds_of_429(gemini: Talker) -> None:
    """A per-minute 429 has a fractional delay, a per-day one a misleading delay, others none."""

    async def details(fault: str) -> Json:
        answer = await gemini.generate(f"[[fault: {fault}]]")
        return {d["@type"].rpartition(".")[2]: d for d in answer.json["error"].get("details", ())}

    minute = await details("rate_limit seconds=39.5")
    assert "39.5s" == minute["RetryInfo"]["retryDelay"]
    assert "PerMinute" in minute["QuotaFailure"]["violations"][0]["quotaId"]
    day = await details("rate_limit_day")
    assert re.fullmatch(r"12\.\d+s", day["RetryInfo"]["retryDelay"])
    assert "PerDay" in day["QuotaFailure"]["violations"][0]["quotaId"]
    assert ["Help"] == list(await details("rate_limit_help"))
    assert {} == await details("rate_limit_bare")


async def test_a_disabled_service_names_its_remedy(gemini: Talker) -> None:
    """SERVICE_DISABLED comes with Help and the address where it is enabled."""
    error = (await gemini.generate("[[fault: service_disabled]]")).json["error"]
    assert "SERVICE_DISABLED" == error["details"][0]["reason"]
    assert error["details"][2]["links"][0]["url"].startswith("https://")


async def test_a_page_instead_of_an_answer(gemini: Talker) -> None:
    """A body may be HTML, with an error status or even with 200."""
    for code in (502, 200):
        answer = await gemini.stream(f"[[fault: html code={code}]]")
        assert code == answer.status
        assert answer.body.startswith(b"<!DOCTYPE html>")


@pytest.mark.parametrize("after", [0, 1, 3])
async def test_a_stream_is_cut(gemini: Talker, after: int) -> None:
    """After N whole events the stream ends cleanly, without a finish reason."""
    got, end = await _raw(gemini, f"{LONG}[[fault: cut after={after}]]")
    assert ("end", after) == (end, got.count(b"data: "))
    assert b"finishReason" not in got


async def test_a_stream_is_cut_inside_an_event(gemini: Talker) -> None:
    """The last event is torn: it has no end."""
    got, end = await _raw(gemini, f"{LONG}[[fault: cut_inside after=2]]")
    assert "end" == end
    assert 3 == got.count(b"data: ")
    assert not got.endswith(b"\r\n\r\n")


async def test_a_connection_is_reset(gemini: Talker) -> None:
    """After N events, or before the headers, the connection is reset."""
    got, end = await _raw(gemini, f"{LONG}[[fault: reset after=2]]")
    assert 2 == got.count(b"data: ")
    assert "end" != end
    for method in ("generateContent", "streamGenerateContent"):
        with pytest.raises(aiohttp.ClientConnectionError):
            await gemini.call(method, "[[fault: reset]]")


@pytest.mark.parametrize("fault", ["cut", "reset after=1", "cut_inside"])
async def test_a_whole_answer_is_torn(gemini: Talker, fault: str) -> None:
    """The body of a whole answer ends in the middle, with an error of the connection."""
    got, end = await _raw(gemini, f"Hello [[fault: {fault}]]", "generateContent")
    assert "end" != end
    assert not got.endswith(b"}")


async def test_a_stall_lasts_until_the_client_leaves(gemini: Talker) -> None:
    """After N events nothing comes any more; the client's leaving is noted at once."""
    url = f"{gemini.simulator.url}/v1beta/models/gemini-3.5-flash:streamGenerateContent?alt=sse"
    body = {"contents": [{"parts": [{"text": f"{LONG}[[fault: stall after=2]]"}]}]}
    async with gemini.session.post(url, json=body, headers={"x-goog-api-key": "k"}) as response:
        got = b""
        while got.count(b"data: ") < 2:
            got += await response.content.readany()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(response.content.readany(), 0.03)
        assert 1 == gemini.simulator.stats()["streams_open"]
        response.close()
    for _ in range(100):
        if gemini.simulator.stats()["aborted"]:
            break
        await asyncio.sleep(0.001)
    stats = gemini.simulator.stats()
    assert (0, 1, 2) == (
        stats["streams_open"],
        stats["aborted"],
        stats["aborts"][0]["events_sent"],
    )


async def test_garbage(gemini: Talker) -> None:
    """Bytes that are no event stand between two events."""
    got, _ = await _raw(gemini, f"{LONG}[[fault: garbage after=1 bytes=10]]")
    events = got.split(b"\r\n\r\n")
    assert events[1].startswith(b"\xff\x00\xc3")
    with pytest.raises(UnicodeDecodeError):
        events[1].decode()


@pytest.mark.parametrize(("form", "prefix"), [("event", b"data: {"), ("raw", b"{\n")])
async def test_an_error_inside_a_stream(gemini: Talker, form: str, prefix: bytes) -> None:
    """A stream that began with 200 may end in an error, as an event or as bare JSON."""
    got, end = await _raw(gemini, f"{LONG}[[fault: stream_error after=2 form={form}]]")
    assert "end" == end
    last = [part for part in got.split(b"\r\n\r\n") if part][-1]
    assert last.startswith(prefix)
    error = msgspec.json.decode(last.removeprefix(b"data: "))["error"]
    assert (503, "UNAVAILABLE") == (error["code"], error["status"])


async def test_an_error_as_the_first_event(gemini: Talker) -> None:
    """The error may come before anything else."""
    got, _ = await _raw(gemini, "[[fault: stream_error after=0 code=429]]")
    error = msgspec.json.decode(got.removeprefix(b"data: "))["error"]
    assert (429, "RESOURCE_EXHAUSTED") == (error["code"], error["status"])


@pytest.mark.parametrize(
    ("kind", "candidates"),
    [
        ("no_candidates", None),
        ("no_content", [{"finishReason": "STOP", "index": 0}]),
        (
            "no_parts",
            [{"content": {"role": "model"}, "finishReason": "STOP", "index": 0}],
        ),
        (
            "empty_text",
            [
                {
                    "content": {"parts": [{"text": ""}], "role": "model"},
                    "finishReason": "STOP",
                    "index": 0,
                }
            ],
        ),
    ],
)
async def test_empty_answers(gemini: Talker, kind: str, candidates: list[Json] | None) -> None:
    """An answer may be empty in four ways, whole or streamed, always with usage."""
    whole = (await gemini.generate(f"Hi [[fault: empty kind={kind}]]")).json
    events = (await gemini.stream(f"Hi [[fault: empty kind={kind}]]")).events
    assert 1 == len(events)
    for body in (whole, events[0]):
        assert candidates == body.get("candidates")
        assert body["usageMetadata"]["promptTokenCount"] == body["usageMetadata"]["totalTokenCount"]


async def test_a_blocked_prompt(gemini: Talker) -> None:
    """A blocked prompt is a 200 without candidates, with a block reason of any name."""
    answer = await gemini.generate("[[fault: blocked reason=FUTURE_REASON]]")
    assert 200 == answer.status
    assert {"blockReason": "FUTURE_REASON"} == answer.json["promptFeedback"]
    assert "candidates" not in answer.json


@pytest.mark.parametrize(
    "reason", ["SAFETY", "RECITATION", "MALFORMED_FUNCTION_CALL", "BRAND_NEW_REASON"]
)
async def test_finish_reasons(gemini: Talker, reason: str) -> None:
    """An answer may end for any reason, after none or some of its text."""
    whole = (await gemini.generate(f"Hi [[fault: finish reason={reason}]]")).json["candidates"][0]
    assert (reason, {}) == (whole["finishReason"], whole["content"])
    assert ("safetyRatings" in whole) == (reason == "SAFETY")
    events = (await gemini.stream(f"{LONG}[[fault: finish reason={reason} after=2]]")).events
    assert [None, None, reason] == [e["candidates"][0].get("finishReason") for e in events]


async def test_new_fields(gemini: Talker) -> None:
    """Fields that nobody knows yet stand at every level."""
    events = (await gemini.stream("Hi [[fault: unknown_fields]]")).events
    assert 0 < len(events)
    for event in events:
        candidate = event["candidates"][0]
        assert "futureResponse" in event
        assert "futureCandidate" in candidate
        assert "futurePart" in candidate["content"]["parts"][0]
        assert "futureTokenCount" in event["usageMetadata"]


async def test_an_oversized_event(gemini: Talker) -> None:
    """One event may be larger than any buffer."""
    got, _ = await _raw(gemini, "Hi [[fault: oversized bytes=300000]]")
    assert 300_000 < len(got.split(b"\r\n\r\n")[0]) < 301_000


async def test_other_framings_mean_the_same(gemini: Talker, ask: Build) -> None:
    """Line feeds, comments, gzip and tiny packets change nothing in meaning."""
    path = "/v1beta/models/gemini-3.5-flash:streamGenerateContent?alt=sse"
    expected = [e["candidates"] for e in (await gemini.stream("Hello")).events]
    for fault in ("line_feeds", "comments", "gzip", "split bytes=3"):
        headers = {"x-goog-api-key": "k", "x-simulator-fault": fault}
        answer = await gemini.send("POST", path, ask("Hello"), headers)
        assert expected == [event["candidates"] for event in answer.events], fault
    assert b"\r" not in (await gemini.stream("Hello[[fault: line_feeds]]")).body
    assert b": keep-alive" in (await gemini.stream("Hello[[fault: comments]]")).body
    zipped = await gemini.stream("Hello[[fault: gzip]]")
    assert "gzip" == zipped.headers["content-encoding"]


async def test_several_data_lines(gemini: Talker) -> None:
    """One event may be spread over several data lines, joined by line feeds."""
    body = (await gemini.stream("Hello[[fault: multi_line]]")).body
    first = body.split(b"\r\n\r\n")[0]
    assert first.count(b"data: ") > 5
    joined = b"\n".join(line.removeprefix(b"data: ") for line in first.split(b"\r\n"))
    assert "candidates" in msgspec.json.decode(joined)


async def test_delays(gemini: Talker, clock: Clock) -> None:
    """A pause before the first byte, and between chunks."""
    events = (await gemini.stream("Hi [[fault: first_byte_delay seconds=3]]")).events
    assert [3.0] == clock.pauses
    clock.pauses.clear()
    events = (await gemini.stream("Hi [[fault: chunk_delay seconds=0.25]]")).events
    assert [0.25] * (len(events) - 1) == clock.pauses


async def test_faults_by_header(gemini: Talker, ask: Build) -> None:
    """The header takes a name, an object, or a list of objects."""
    path = "/v1beta/models/gemini-3.5-flash:generateContent"
    for header, status in (
        ("overloaded", 503),
        ('{"fault": "internal"}', 500),
        ('[{"fault": "first_byte_delay", "seconds": 1}, {"fault": "deadline"}]', 504),
        ('{"fault": "inernal"}', 400),
        ("{", 400),
    ):
        headers = {"x-goog-api-key": "k", "x-simulator-fault": header}
        assert status == (await gemini.send("POST", path, ask("x"), headers)).status


def test_a_misspelt_fault_names_the_nearest() -> None:
    """A mistake in a fault is told with what was meant."""
    with pytest.raises(ScriptError, match="did you mean 'overloaded'"):
        from_directive("overloded")
    with pytest.raises(ScriptError, match="write it as name=value"):
        from_directive("cut 3")
    with pytest.raises(ScriptError, match="unknown field `afer`"):
        from_header('{"fault": "cut", "afer": 3}')


@pytest.mark.parametrize("name", FAULTS)
async def test_no_fault_breaks_the_simulator(gemini: Talker, name: str) -> None:
    """After any fault, on any method, the next request is served as if nothing had been."""
    assert name == Fault(fault=name).fault
    for method in ("generateContent", "streamGenerateContent", "countTokens"):
        try:
            async with asyncio.timeout(0.05):
                await gemini.call(method, f"{LONG}[[fault: {name}]]")
        except (TimeoutError, aiohttp.ClientError):
            pass
    assert 200 == (await gemini.generate("Hello")).status
