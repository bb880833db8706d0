"""What a message holds, counted in its bytes."""

from __future__ import annotations

from typing import Any

import pytest

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import session_service_pb2 as sessions
from gemini_backend.errors import TooManyParts
from gemini_backend.processing.message_census import census

MOST = 10


def counted(message: Any, data: bytes | None = None, most: int = MOST) -> int:
    """Count a message; return how often that paused."""
    found = message.SerializeToString() if data is None else data
    return sum(1 for _ in census(found, message.DESCRIPTOR, most))


def turns(*parts: int) -> list[dict[str, Any]]:
    """Return turns with so many parts each."""
    return [{"role": "user", "parts": [{"text": "x"}] * number} for number in parts]


FITS = {
    "parts": pb.ExecuteRequest(contents=turns(4, 6)),
    "values": pb.ExecuteRequest(prompt="x", extra={f"k{n}": n for n in range(10)}),
    "nested values": pb.ExecuteRequest(prompt="x", extra={"a": [1, {"b": [2, 3]}]}),
    "all kinds": pb.ExecuteRequest(contents=turns(*[1] * 10), extra={"a": [1] * 4}),
    "stop sequences": pb.ExecuteRequest(generation_config={"stop_sequences": ["x"] * 10}),
    "long texts": pb.ExecuteRequest(prompt="x" * 100_000, model="m" * 200),
    "numbers of all lengths": pb.ExecuteRequest(
        prompt="x",
        generation_config={"temperature": 0.5, "seed": -1, "max_output_tokens": 70_000},
    ),
}


@pytest.mark.parametrize("message", FITS.values(), ids=FITS)
def test_what_fits_is_taken(message: Any) -> None:
    """Exactly as many elements of a kind as are allowed are no fault."""
    assert 0 == counted(message)


TOO_MANY = {
    "parts of one turn": (pb.ExecuteRequest(contents=turns(11)), "parts"),
    "parts of all turns": (pb.ExecuteRequest(contents=turns(5, 6)), "parts"),
    "empty parts": (pb.ExecuteRequest(contents=[{"parts": [{}] * 11}]), "parts"),
    "parts of a result": (
        pb.ExecuteRequest(
            contents=[{"parts": [{"function_response": {"name": "f", "parts": [{}] * 10}}]}]
        ),
        "parts",
    ),
    "parts of a history": (sessions.CreateSessionRequest(history=turns(5, 6)), "parts"),
    "parts of what is embedded": (pb.EmbedRequest(contents=turns(11)), "parts"),
    "parts of what is counted": (pb.CountTokensRequest(contents=turns(11)), "parts"),
    "parts of all items": (pb.BatchExecuteRequest(items=[{"contents": turns(6)}] * 2), "parts"),
    "keys": (pb.ExecuteRequest(prompt="x", extra={f"k{n}": n for n in range(11)}), "Struct"),
    "items of a list": (pb.ExecuteRequest(prompt="x", extra={"a": [None] * 10}), "Struct"),
    "values within a part": (
        pb.ExecuteRequest(
            contents=[{"parts": [{"function_call": {"name": "f", "args": {"a": [1] * 10}}}]}]
        ),
        "Struct",
    ),
    "turns": (pb.ExecuteRequest(contents=turns(*[0] * 11)), "repeated"),
    "labels": (pb.ExecuteRequest(prompt="x", labels={str(n): "" for n in range(11)}), "repeated"),
    "texts": (pb.ExecuteRequest(generation_config={"stop_sequences": ["x"] * 11}), "repeated"),
}


@pytest.mark.parametrize(("message", "what"), TOO_MANY.values(), ids=TOO_MANY)
def test_one_too_many_is_refused(message: Any, what: str) -> None:
    """The refusal says of what there is too much, how much is allowed, and what to do."""
    with pytest.raises(TooManyParts, match=rf"more than 10 .*{what}.*; ") as refused:
        counted(message)
    assert "CALLER_TOO_MANY_PARTS" == refused.value.reason


def test_a_field_may_come_in_pieces() -> None:
    """Protobuf puts the pieces of a message together, so all of them count."""
    part = pb.ExecuteRequest(contents=turns(3)).SerializeToString()
    with pytest.raises(TooManyParts):
        counted(pb.ExecuteRequest(), part * 4)


def test_fields_that_nobody_knows_are_counted_too() -> None:
    """To skip a field takes time as well: there is a bound for all of them."""
    unknown = b"\xf8\x7f\x01"
    assert 0 == counted(pb.ExecuteRequest(), unknown * 100)
    with pytest.raises(TooManyParts):
        counted(pb.ExecuteRequest(), unknown * 100_000)


def test_counting_pauses_every_few_thousand_fields() -> None:
    """So that whoever counts can let others run."""
    assert 4 == counted(pb.ExecuteRequest(contents=turns(4096)), most=65_536)


@pytest.mark.parametrize(
    "data",
    [b"\x12\xff", b"\x12", b"\xff" * 20, b"\x08" + b"\xff" * 20, b"\x0b", b"\x12\x7f\x0a"],
    ids=["length cut", "no length", "long tag", "long number", "group", "message cut"],
)
def test_what_is_no_message_is_left_to_its_reader(data: bytes) -> None:
    """Counting ends where it does not understand; it never fails by itself."""
    assert 0 == counted(pb.ExecuteRequest(), data)


def test_depth_has_a_bound() -> None:
    """Messages within each other deeper than a reader goes are not looked into."""
    data = b""
    for _ in range(2000):
        size, varint = len(data), b""
        while size >= 0x80:
            varint += bytes([size & 0x7F | 0x80])
            size >>= 7
        data = b"\x0a" + varint + bytes([size]) + data
    deep = pb.ExecuteRequest(prompt="x").SerializeToString() + data
    assert 0 == counted(pb.ExecuteRequest(), deep)
