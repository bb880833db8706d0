"""A large message, taken apart so that its rules can be checked a little at a time."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.errors import InvalidRequest, TooManyParts
from gemini_backend.policies.checks.outline import Outline, is_simple
from gemini_backend.policies.checks.validate import Validate
from tests.support.clock import FakeClock
from tests.support.layers.alone import Alone
from tests.support.messages.calls import make_call

PART = {"text": "x"}


def turn(*parts: Any, role: str = "user") -> dict[str, Any]:
    """Return a turn."""
    return {"role": role, "parts": list(parts)}


def violations(failed: InvalidRequest) -> list[tuple[str, str, str]]:
    """Return what is wrong, in no order."""
    return sorted((one.field, one.description, one.rule) for one in failed.violations)


async def in_slices(request: Any) -> list[tuple[str, str, str]]:
    """Return what is found wrong with a request that counts as large."""
    clock = FakeClock()
    call = msgspec.structs.replace(make_call(clock), large=1)

    async def proceed(_call: Any, _request: Any) -> None:
        return None

    try:
        await Alone(Validate(clock)).unary(call, request, proceed)
    except InvalidRequest as failed:
        return violations(failed)
    return []


def at_once(request: Any) -> list[tuple[str, str, str]]:
    """Return what is found wrong with a request that counts as small."""
    try:
        Validate().check(request)
    except InvalidRequest as failed:
        return violations(failed)
    return []


REQUESTS = {
    "a prompt": pb.ExecuteRequest(prompt="x" * 200_000),
    "a blank prompt": pb.ExecuteRequest(prompt=" " * 200_000),
    "a prompt after blanks": pb.ExecuteRequest(prompt=" " * 200_000 + "x"),
    "nothing": pb.ExecuteRequest(),
    "both": pb.ExecuteRequest(prompt="x", contents=[turn(PART)]),
    "many turns": pb.ExecuteRequest(contents=[turn(PART)] * 100),
    "too many turns": pb.ExecuteRequest(contents=[turn(PART)] * 4097),
    "a late turn without parts": pb.ExecuteRequest(contents=[turn(PART)] * 20 + [turn()]),
    "a late wrong role": pb.ExecuteRequest(contents=[turn(PART)] * 20 + [turn(PART, role="me")]),
    "late wrong parts": pb.ExecuteRequest(
        contents=[
            turn(*[PART] * 20, {"inline_data": {"mime_type": "png", "data": b""}}),
            turn(*[PART] * 3, {"file_data": {"file_uri": ""}}),
        ]
        * 10
    ),
    "too many parts of a turn": pb.ExecuteRequest(contents=[turn(*[PART] * 4097)]),
    "a large blob": pb.ExecuteRequest(
        contents=[turn({"inline_data": {"mime_type": "image/png", "data": b"x" * 200_000}})]
    ),
    "labels": pb.ExecuteRequest(prompt="x", labels={f"K{n}": "v" for n in range(17)}),
    "settings": pb.ExecuteRequest(
        prompt="x",
        generation_config={"temperature": -1, "thinking_config": {"thinking_budget": 1}},
        safety_settings=[{"category": 1}] * 17,
    ),
    "tools": pb.ExecuteRequest(
        prompt="x",
        tools=[{"function_declarations": [{"name": "f"}] * 20 + [{"name": "1"}]}] * 20,
    ),
    "Structs": pb.ExecuteRequest(
        prompt="x",
        extra={"a": [1] * 100},
        tools=[{"function_declarations": [{"name": "f", "parameters": {"type": "object"}}]}],
    ),
    "counting": pb.CountTokensRequest(contents=[turn(PART)] * 100 + [turn()]),
    "counting nothing": pb.CountTokensRequest(),
    "embedding": pb.EmbedRequest(contents=[turn(PART)] * 1001),
    "a batch": pb.BatchExecuteRequest(items=[{}] * 100),
    "an empty batch": pb.BatchExecuteRequest(concurrency=2000),
}


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
async def test_the_same_is_wrong_in_slices_as_at_once(request_: Any) -> None:
    """A message is held to the same rules, whatever its size, with the same words and paths."""
    before = request_.SerializeToString(deterministic=True)
    assert at_once(request_) == await in_slices(request_)
    assert before == request_.SerializeToString(deterministic=True)


async def test_what_is_wrong_everywhere_is_not_all_looked_for() -> None:
    """Some hundreds of violations say enough; thousands would take seconds."""
    wrong = pb.ExecuteRequest(contents=[turn(PART, role="me")] * 4000)
    assert 256 == len(await in_slices(wrong))


async def test_an_item_of_a_batch_has_no_more_parts_than_a_request() -> None:
    """A batch as a whole may have more; each of its items may not."""
    turns = [turn(*[PART] * 4096)] * 16
    assert [] == await in_slices(pb.ExecuteRequest(contents=turns))
    with pytest.raises(TooManyParts, match="65,536 parts"):
        await in_slices(pb.ExecuteRequest(contents=[*turns, turn(PART)]))


def test_an_outline_has_no_more_than_is_looked_at() -> None:
    """What Structs hold is left out, texts are cut, and lists have few elements."""
    made = Outline(
        pb.ExecuteRequest(
            prompt="x" * 200_000, extra={"a": 1}, contents=[turn(PART)] * 10, labels={"a": "b"}
        )
    )
    assert 64 * 1024 == len(made.message.prompt)  # type: ignore[attr-defined]
    assert made.message.HasField("extra")
    assert 0 == len(made.message.extra.fields)  # type: ignore[attr-defined]
    assert 8 == len(made.message.contents)  # type: ignore[attr-defined]
    assert ["contents[8]", "contents[9]"] == [one.path for one in made.rest]


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (content.Part(text="x"), True),
        (content.Part(text="x", thought=True), True),
        (content.Part(text="x" * 70_000), False),
        (content.Part(extra={"a": 1}), False),
        (content.Part(inline_data={"mime_type": "image/png", "data": b"x"}), False),
    ],
)
def test_what_holds_nothing_long_is_checked_as_it_is(part: content.Part, expected: bool) -> None:
    """To take it apart would take longer than to check it."""
    assert expected is is_simple(part)
