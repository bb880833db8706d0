"""Sessions of before are read by today's contract, and nothing of them is lost.

Covers: stores/wire_format.py
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf import descriptor_pb2, message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import session_service_pb2 as sessions
from gemini_backend.clock import SystemClock
from gemini_backend.principal import Owner
from gemini_backend.stores.session_rewrite import rewrite_sessions, rewritten
from gemini_backend.stores.sessions import NewSession, SessionKey, SessionRow
from gemini_backend.stores.sessions_sqlite import SCHEMA, SqliteSessions
from gemini_backend.stores.sqlite import Database

if TYPE_CHECKING:
    from pathlib import Path

Field = descriptor_pb2.FieldDescriptorProto
TEXT, NUMBER, FRACTION, DATA = (
    Field.TYPE_STRING,
    Field.TYPE_INT32,
    Field.TYPE_DOUBLE,
    Field.TYPE_BYTES,
)
# The contract as it was: of each message the fields that have changed, and some that have not.
# Enums are numbers here, as they are on the wire; "*" is repeated.
BEFORE: dict[str, dict[str, tuple[int, Any]]] = {
    "Session": {
        "name": (1, TEXT),
        "model": (3, TEXT),
        "system_instruction": (4, "Content"),
        "usage": (13, "Usage"),
    },
    "SessionTurn": {
        "index": (1, NUMBER),
        "inputs": (2, "*Content"),
        "output": (3, "Content"),
        "execution": (5, TEXT),
        "usage": (6, "Usage"),
        "candidates": (8, "*Candidate"),
    },
    "Content": {"role": (1, TEXT), "parts": (2, "*Part")},
    "Part": {
        "text": (1, TEXT),
        "executable_code": (6, "ExecutableCode"),
        "code_execution_result": (7, "CodeExecutionResult"),
        "tool_call": (8, "ToolCall"),
        "tool_response": (9, "ToolCall"),
        "thought_signature": (11, DATA),
        "video_metadata": (12, "VideoMetadata"),
        "media_resolution": (13, NUMBER),
    },
    "ExecutableCode": {"language": (1, TEXT), "code": (2, TEXT), "id": (3, TEXT)},
    "CodeExecutionResult": {"outcome": (1, TEXT), "output": (2, TEXT)},
    "ToolCall": {"id": (1, TEXT), "tool_type": (2, TEXT)},
    "VideoMetadata": {"start_offset": (1, TEXT), "end_offset": (2, TEXT), "fps": (3, FRACTION)},
    "Candidate": {
        "index": (1, NUMBER),
        "content": (2, "Content"),
        "finish_reason": (3, NUMBER),
        "finish_reason_raw": (4, TEXT),
        "safety_ratings": (6, "*SafetyRating"),
        "url_context_metadata": (9, "UrlContextMetadata"),
        "avg_logprobs": (10, FRACTION),
    },
    "SafetyRating": {
        "category": (1, NUMBER),
        "category_raw": (2, TEXT),
        "probability": (3, NUMBER),
    },
    "UrlContextMetadata": {"url_metadata": (1, "*UrlMetadata")},
    "UrlMetadata": {"retrieved_url": (1, TEXT), "url_retrieval_status": (2, TEXT)},
    "Usage": {
        "prompt_token_count": (1, NUMBER),
        "service_tier": (11, TEXT),
        "traffic_type": (12, TEXT),
        "quality": (13, NUMBER),
    },
}


def _classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="before.proto", package="t", syntax="proto3")
    for name, fields in BEFORE.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            many = isinstance(kind, str) and kind.startswith("*")
            added = message.field.add(name=field, number=number)
            added.label = Field.LABEL_REPEATED if many else Field.LABEL_OPTIONAL
            if isinstance(kind, str):
                added.type, added.type_name = Field.TYPE_MESSAGE, f".t.{kind.removeprefix('*')}"
            else:
                added.type = kind
    pool = DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"t.{name}"))
        for name in BEFORE
    }


OLD = _classes()


def turn(**fields: Any) -> sessions.SessionTurn:
    """Return today's turn of one of before."""
    data = OLD["SessionTurn"](**fields).SerializeToString()
    return sessions.SessionTurn.FromString(rewritten(data, "SessionTurn"))


def part(**fields: Any) -> content.Part:
    """Return today's part of one of before, which stands in the output of a turn."""
    return turn(output={"parts": [fields]}).output.parts[0]


REASONS = """
    STOP MAX_TOKENS SAFETY RECITATION LANGUAGE OTHER BLOCKLIST PROHIBITED_CONTENT SPII
    MALFORMED_FUNCTION_CALL IMAGE_SAFETY UNEXPECTED_TOOL_CALL TOO_MANY_TOOL_CALLS MODEL_ARMOR
    IMAGE_PROHIBITED_CONTENT IMAGE_OTHER NO_IMAGE IMAGE_RECITATION MISSING_THOUGHT_SIGNATURE
    MALFORMED_RESPONSE
"""
HARMS = "HARASSMENT HATE_SPEECH SEXUALLY_EXPLICIT DANGEROUS_CONTENT CIVIC_INTEGRITY JAILBREAK"


@pytest.mark.parametrize(("number", "name"), list(enumerate(["UNSPECIFIED", *REASONS.split()])))
def test_finish_reasons(number: int, name: str) -> None:
    """Each has the number that it has today."""
    (found,) = turn(candidates=[{"finish_reason": number}]).candidates
    assert f"FINISH_REASON_{name}" == content.FinishReason.Name(found.finish_reason)


@pytest.mark.parametrize(("number", "name"), list(enumerate(HARMS.split(), 1)))
def test_kinds_of_harm(number: int, name: str) -> None:
    """Each has the number that it has today, its likelihood the one that it had."""
    rating = {"category": number, "probability": 3}
    (found,) = turn(candidates=[{"safety_ratings": [rating]}]).candidates[0].safety_ratings
    assert (f"HARM_CATEGORY_{name}", content.HARM_PROBABILITY_MEDIUM) == (
        content.HarmCategory.Name(found.category),
        found.probability,
    )


def test_media_resolution() -> None:
    """The highest has another number, the others have theirs."""
    found = [part(text="a", media_resolution=number).media_resolution for number in range(5)]
    assert [0, 1, 2, 3, content.MEDIA_RESOLUTION_ULTRA_HIGH] == found


@pytest.mark.parametrize(
    ("word", "known", "raw"),
    [("PYTHON", content.CODE_LANGUAGE_PYTHON, ""), ("RUST", 0, "RUST"), ("", 0, "")],
)
def test_languages(word: str, known: int, raw: str) -> None:
    """A word is a value where there is one, else it stays the word."""
    found = part(executable_code={"language": word, "code": "1", "id": "c"}).executable_code
    assert (known, raw, "1", "c") == (found.language, found.language_raw, found.code, found.id)


def test_outcomes_tools_and_pages() -> None:
    """So are the outcome of code, the kind of a tool, and how reading a page went."""
    ok = part(code_execution_result={"outcome": "OUTCOME_OK", "output": "7"})
    odd = part(code_execution_result={"outcome": "OUTCOME_NEW"})
    assert content.CodeExecutionResult(outcome=content.CODE_OUTCOME_OK, output="7") == (
        ok.code_execution_result
    )
    assert content.CodeExecutionResult(outcome_raw="OUTCOME_NEW") == odd.code_execution_result
    tool = {"id": "1", "tool_type": "URL_CONTEXT"}
    assert content.ToolCall(id="1", tool_type=content.TOOL_TYPE_URL_CONTEXT) == (
        part(tool_call=tool).tool_call
    )
    assert content.ToolResponse(id="1", tool_type_raw="NEW") == (
        part(tool_response={"id": "1", "tool_type": "NEW"}).tool_response
    )
    pages = [
        {"retrieved_url": "u", "url_retrieval_status": "URL_RETRIEVAL_STATUS_PAYWALL"},
        {"url_retrieval_status": "URL_RETRIEVAL_STATUS_NEW"},
    ]
    (found,) = turn(candidates=[{"url_context_metadata": {"url_metadata": pages}}]).candidates
    paywall, other = found.url_context_metadata.url_metadata
    assert ("u", content.URL_RETRIEVAL_STATUS_PAYWALL) == (
        paywall.retrieved_url,
        paywall.url_retrieval_status,
    )
    assert "URL_RETRIEVAL_STATUS_NEW" == other.url_retrieval_status_raw


@pytest.mark.parametrize(
    ("text", "seconds", "nanos"),
    [("0s", 0, 0), ("90s", 90, 0), ("1.5s", 1, 500_000_000), ("0.000000001s", 0, 1)],
)
def test_offsets(text: str, seconds: int, nanos: int) -> None:
    """Seconds with suffix are durations, zero included."""
    found = part(text="a", video_metadata={"start_offset": text, "end_offset": text, "fps": 0.5})
    video = found.video_metadata
    for offset in (video.start_offset, video.end_offset):
        assert (seconds, nanos) == (offset.seconds, offset.nanos)
    assert video.HasField("start_offset")
    assert 0.5 == video.fps


def test_offsets_that_are_none() -> None:
    """What is no duration is kept where it is sent from as it was."""
    video = part(
        text="a", video_metadata={"start_offset": "soon", "end_offset": "2s"}
    ).video_metadata
    assert ({"startOffset": "soon"}, 2, False) == (
        dict(video.extra),
        video.end_offset.seconds,
        video.HasField("start_offset"),
    )


@pytest.mark.parametrize("name", ["Session", "SessionTurn"])
def test_usage(name: str) -> None:
    """Tier and traffic, known or not; counts stay."""
    kind = {"Session": sessions.Session, "SessionTurn": sessions.SessionTurn}[name]
    for tier, traffic in (("flex", "ON_DEMAND_FLEX"), ("novel", "NOVEL")):
        usage = {"prompt_token_count": 3, "service_tier": tier, "traffic_type": traffic}
        data = OLD[name](usage=usage).SerializeToString()
        found = kind.FromString(rewritten(data, name)).usage
        expected = content.Usage(prompt_token_count=3)
        if tier == "flex":
            expected.service_tier = content.SERVICE_TIER_FLEX
            expected.traffic_type = content.TRAFFIC_TYPE_ON_DEMAND_FLEX
        else:
            expected.service_tier_raw, expected.traffic_type_raw = tier, traffic
        assert expected == found


@pytest.mark.parametrize(
    ("before", "today"), [("", ""), ("e1", "executions/e1"), ("executions/e1",) * 2]
)
def test_names_of_executions(before: str, today: str) -> None:
    """They are resource names today."""
    assert today == turn(execution=before).execution


def test_a_session_with_its_instruction() -> None:
    """What stands in the session itself is rewritten too."""
    old = OLD["Session"](
        name="sessions/s",
        model="models/m",
        system_instruction={"parts": [{"executable_code": {"language": "PYTHON", "code": "1"}}]},
    )
    found = sessions.Session.FromString(rewritten(old.SerializeToString(), "Session"))
    (part_,) = found.system_instruction.parts
    assert ("sessions/s", "models/m", content.CODE_LANGUAGE_PYTHON) == (
        found.name,
        found.model,
        part_.executable_code.language,
    )


def test_a_rich_turn_keeps_all_else() -> None:
    """Inputs, signatures, and fields that nobody knows stay to the byte."""
    unknown = b"\xfa\x3e\x02hi"  # field 1007, text
    old = OLD["SessionTurn"](
        index=7,
        inputs=[{"role": "user", "parts": [{"text": "é", "thought_signature": b"\x00\xff"}]}],
        candidates=[{"index": 1, "finish_reason": 1, "avg_logprobs": -0.5}],
    )
    data = old.SerializeToString() + unknown
    assert data == rewritten(data, "SessionTurn")


@given(st.binary(max_size=200))
def test_whatever_the_bytes_it_fails_or_gives_a_message(data: bytes) -> None:
    """A blob that is no message is a ValueError; what is given is a message of today's contract."""
    try:
        made = rewritten(data, "SessionTurn")
    except ValueError:
        return
    try:
        OLD["SessionTurn"].FromString(data)
    except DecodeError:
        return  # it was none before
    assert isinstance(sessions.SessionTurn.FromString(made), sessions.SessionTurn)


# --- in the store


OWNER = Owner("acme", "ann")


def older(file: Path, head: bytes, *turns: bytes) -> None:
    """Make a store as the first version of the schema had it, with one session."""
    db = sqlite3.connect(file)
    first = SCHEMA[0]
    assert isinstance(first, str)
    db.executescript(first)
    db.execute(
        "INSERT INTO sessions VALUES "
        "(1, 'acme', 'ann', 's', 1, ?, '', NULL, 1, 1, NULL, ?, ?, 5, 0)",
        (head, len(turns), sum(map(len, turns))),
    )
    for number, data in enumerate(turns, 1):
        db.execute("INSERT INTO turns VALUES (NULL, 1, ?, ?)", (number, data))
    db.execute("PRAGMA user_version = 1")
    db.commit()
    db.close()


def store_at(file: Path) -> SqliteSessions:
    return SqliteSessions(Database(file, SCHEMA, clock=SystemClock(), power=False))


async def test_a_store_of_before_is_rewritten_once(tmp_path: Path) -> None:
    """When it is first opened; the second time nothing is changed any more."""
    head = OLD["Session"](usage={"service_tier": "flex"}).SerializeToString()
    old = OLD["SessionTurn"](index=1, execution="e1", candidates=[{"finish_reason": 5}])
    older(tmp_path / "sessions.db", head, old.SerializeToString())
    for _ in range(2):
        store = store_at(tmp_path / "sessions.db")
        loaded = await store.load(SessionKey(OWNER, "s"), 2.0)
        assert loaded is not None
        kept, (data,), _ = loaded
        found = sessions.SessionTurn.FromString(data)
        assert ("executions/e1", content.FINISH_REASON_LANGUAGE, len(data)) == (
            found.execution,
            found.candidates[0].finish_reason,
            kept.bytes,
        )
        usage = sessions.Session.FromString(kept.head).usage
        assert content.SERVICE_TIER_FLEX == usage.service_tier
        await store.database.aclose()


async def test_what_cannot_be_read_is_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A damaged blob stays as it is, the others are rewritten, and the log says so."""
    good = OLD["SessionTurn"](execution="e1").SerializeToString()
    older(tmp_path / "sessions.db", b"", b"\xff\xff", good)
    store = store_at(tmp_path / "sessions.db")
    loaded = await store.load(SessionKey(OWNER, "s"), 2.0)
    assert loaded is not None
    assert [b"\xff\xff", b"\x2a\x0dexecutions/e1"] == loaded.turns
    assert [1] == [record.count for record in caplog.records]  # type: ignore[attr-defined]
    await store.database.aclose()


async def test_more_than_are_held_at_once(tmp_path: Path) -> None:
    """However many turns there are, each is rewritten."""
    one = OLD["SessionTurn"](execution="e1").SerializeToString()
    older(tmp_path / "sessions.db", b"", *[one] * 450)
    store = store_at(tmp_path / "sessions.db")
    loaded = await store.load(SessionKey(OWNER, "s"), 2.0)
    assert loaded is not None
    assert {b"\x2a\x0dexecutions/e1"} == set(loaded.turns)
    assert 450 == len(loaded.turns)
    await store.database.aclose()


async def test_a_new_store_has_nothing_to_rewrite(tmp_path: Path) -> None:
    """What is made today stays as it is."""
    store = store_at(tmp_path / "sessions.db")
    today = sessions.SessionTurn(index=1, execution="executions/e").SerializeToString()
    kept = SessionRow("s", 1, 1, b"", 1.0, 1.0, None, turns=1, bytes=len(today), tokens=1)
    await store.create(OWNER, NewSession(kept, [today]), 9)
    await store.database.aclose()
    store = store_at(tmp_path / "sessions.db")
    loaded = await store.load(SessionKey(OWNER, "s"), 2.0)
    assert loaded is not None
    assert [today] == loaded.turns
    await store.database.aclose()


def test_the_rules_stand_for_themselves() -> None:
    """The part of the schema is a function; it needs no stub of the contract."""
    assert rewrite_sessions is SCHEMA[1]
