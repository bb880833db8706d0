"""Scripts, quotas, and the endpoints that show and change them.

Covers: upstream/simulator/control.py, upstream/simulator/journal.py, upstream/simulator/limits.py,
upstream/simulator/server.py
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import pytest

from gemini_backend.upstream.simulator.faults import ScriptError, read_script
from gemini_backend.upstream.simulator.faults.script import parse_script

if TYPE_CHECKING:
    from pathlib import Path

    from tests.upstream.simulator.talker import Clock, Json, Start, Talker

TOML = """
seed = 7
[[rules]]
match = { method = "generateContent", model = "gemini-3.*", first = 2 }
fault = { fault = "overloaded" }
[[rules]]
match = { prompt = "magic" }
faults = [ { fault = "blocked", reason = "OTHER" } ]
"""


async def _statuses(
    gemini: Talker, number: int, text: str = "Hello", model: str = "gemini-3.5-flash"
) -> list[int]:
    return [(await gemini.generate(text, model)).status for _ in range(number)]


async def test_rules_pick_requests(start: Start) -> None:
    """Method, model and prompt must fit; `first` takes only the first of them."""
    gemini = await start(script=parse_script(TOML))
    assert [200] == await _statuses(gemini, 1, model="gemini-2.5-flash")
    assert [503, 503, 200] == await _statuses(gemini, 3)
    assert "promptFeedback" in (await gemini.stream("some magic words")).events[0]


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        ({"nth": 3}, [200, 200, 503, 200, 200, 200]),
        ({"every": 2}, [200, 503, 200, 503, 200, 503]),
        ({"first": 1}, [503, 200, 200, 200, 200, 200]),
        ({"key": "other"}, [200] * 6),
        ({"key": "test-key"}, [503] * 6),
        ({"probability": 0.0}, [200] * 6),
    ],
)
async def test_which_of_the_requests(start: Start, match: Json, expected: list[int]) -> None:
    """nth, every, first, key and probability choose among the requests that fit."""
    rule = {"match": match, "fault": {"fault": "overloaded"}}
    gemini = await start(script=parse_script(msgspec.json.encode({"rules": [rule]})))
    assert expected == await _statuses(gemini, 6)


async def test_chance_is_repeatable(start: Start) -> None:
    """The same seed fails the same requests, about as many as the probability says."""
    rule = {"match": {"probability": 0.3}, "fault": {"fault": "internal"}}
    source = msgspec.json.encode({"seed": 11, "rules": [rule]})
    runs = [await _statuses(await start(script=parse_script(source)), 60) for _ in range(2)]
    assert runs[0] == runs[1]
    assert 8 <= runs[0].count(500) <= 28


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ('{"rules": [{"fault": {"fault": "overloded"}}]}', "did you mean 'overloaded'"),
        ('{"rules": [{}]}', "a rule needs `fault` or `faults`"),
        ('{"rulez": []}', "unknown field `rulez`"),
        ('{"rules": [{"match": {"model": "("}, "fault": {"fault": "cut"}}]}', "regular expression"),
        ('{"rules": [{"match": {"probability": 2}, "fault": {"fault": "cut"}}]}', "between 0 and"),
        ("rules = ", "Invalid value"),
    ],
)
def test_bad_scripts_say_what_is_wrong(tmp_path: Path, source: str, message: str) -> None:
    """A mistake in a script is named, with the file that it is in."""
    with pytest.raises(ScriptError, match=message):
        parse_script(source)
    path = tmp_path / "script"
    path.write_text(source)
    with pytest.raises(ScriptError, match="script"):
        read_script(str(path))


async def test_a_quota_is_really_kept(start: Start, clock: Clock) -> None:
    """Above the quota comes a 429 with the true delay: waiting that long helps, less does not."""
    gemini = await start(script=parse_script('{"limits": [{"requests_per_minute": 2}]}'))
    assert [200] == await _statuses(gemini, 1)
    clock.now += 20.25
    assert [200, 429] == await _statuses(gemini, 2)
    refused = await gemini.generate("Hello")
    details = {d["@type"].rpartition(".")[2]: d for d in refused.json["error"]["details"]}
    assert "39.75s" == details["RetryInfo"]["retryDelay"]
    assert "2" == details["QuotaFailure"]["violations"][0]["quotaValue"]
    assert [200] == await _statuses(gemini, 1, model="gemini-2.5-flash")
    clock.now += 39.5
    assert [429] == await _statuses(gemini, 1)
    clock.now += 0.25
    assert [200, 429] == await _statuses(gemini, 2)


async def test_quotas_of_tokens_and_days(start: Start, clock: Clock) -> None:
    """Tokens per minute and requests per day are kept too, each with its own quota id."""
    gemini = await start(script=parse_script('{"limits": [{"tokens_per_minute": 200}]}'))
    assert [200, 429] == await _statuses(gemini, 2, "word " * 100)
    daily = await start(script=parse_script('{"limits": [{"requests_per_day": 1}]}'))
    assert [200, 429] == await _statuses(daily, 2)
    clock.now += 86_400
    assert [200] == await _statuses(daily, 1)


async def test_the_script_can_be_changed(gemini: Talker) -> None:
    """PUT takes a script, GET shows it, DELETE forgets it; a bad one changes nothing."""
    script = b'{"rules":[{"fault":{"fault":"overloaded"}}]}'
    assert 200 == (await gemini.send("PUT", "/_simulator/script", script)).status
    assert [503] == await _statuses(gemini, 1)
    shown = (await gemini.send("GET", "/_simulator/script")).json
    assert "overloaded" == shown["rules"][0]["fault"]["fault"]
    bad = await gemini.send("PUT", "/_simulator/script", b'{"rules":[{"fault":{"fault":"x"}}]}')
    assert 400 == bad.status
    assert [503] == await _statuses(gemini, 1)
    assert 200 == (await gemini.send("DELETE", "/_simulator/script")).status
    assert [200] == await _statuses(gemini, 1)
    assert 404 == (await gemini.send("GET", "/_simulator/nope")).status


async def test_requests_are_remembered_without_keys(start: Start) -> None:
    """The last requests are shown with model, headers and body, never with the key."""
    gemini = await start(recent_requests=3)
    for text in ("one", "two", "three"):
        await gemini.generate(text)
    await gemini.send("GET", "/v1beta/models?key=secret-key&pageSize=2")
    answer = await gemini.send("GET", "/_simulator/requests")
    assert b"test-key" not in answer.body
    assert b"secret-key" not in answer.body
    entries = answer.json["requests"]
    assert ["generateContent", "generateContent", "listModels"] == [e["method"] for e in entries]
    assert "two" == entries[0]["body"]["contents"][0]["parts"][0]["text"]
    assert "gemini-3.5-flash" == entries[0]["model"]
    assert "/v1beta/models?pageSize=2" == entries[2]["path"]
    limited = await gemini.send("GET", "/_simulator/requests?limit=1")
    assert 1 == len(limited.json["requests"])


async def test_large_and_odd_bodies_are_not_kept(start: Start) -> None:
    """Of a large body, or one that is no JSON, only the size is remembered."""
    gemini = await start(recorded_body=100)
    await gemini.generate("x" * 200)
    await gemini.send("POST", "/v1beta/models/gemini-3.5-flash:generateContent", b"nonsense")
    bodies = [entry["body"] for entry in gemini.simulator.requests()]
    assert "more than 100 bytes" == bodies[0]
    assert "8 bytes that are not JSON" == bodies[1]


async def test_stats(gemini: Talker) -> None:
    """Counts by method and status, and open connections."""
    await gemini.generate("Hello")
    await gemini.stream("Hello")
    await gemini.generate("[[fault: internal]]")
    stats = (await gemini.send("GET", "/_simulator/stats")).json
    assert {"generateContent": 2, "streamGenerateContent": 1} == stats["by_method"]
    assert {"200": 2, "500": 1} == stats["by_status"]
    assert (3, 0, 0) == (stats["requests"], stats["streams_open"], stats["aborted"])
    assert stats["connections_open"] >= 1


async def test_stopping_ends_stalled_streams(start: Start) -> None:
    """Aclose does not wait for answers that would never end, and may be called twice."""
    gemini = await start()
    waiting = asyncio.create_task(gemini.stream("[[length: 96]] [[fault: stall]]"))
    for _ in range(1000):
        if gemini.simulator.stats()["streams_open"]:
            break
        await asyncio.sleep(0.001)
    async with asyncio.timeout(2):
        await gemini.simulator.aclose()
    with pytest.raises(Exception, match=r"Payload|Disconnected|ended|Response"):
        await waiting
    await gemini.simulator.aclose()
