"""Which answers a conversation goes on with, and what of them is sent again."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.json_format import ParseDict

from gemini.backend.v1 import content_pb2 as content
from gemini_backend.policies.conversations.kept_answer import GOES_ON, kept_answer, sendable
from tests.support.layers.session_layer import STOP, Desk, begun, reply, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.clock import FakeClock

ways = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
REASONS = sorted(content.FinishReason.values())
HALF = content.FINISH_REASON_CONTINUATION
PIECE = {"partial_args": [{"json_path": "$.a", "string_value": "x"}], "will_continue": True}
FINE = {"text": "fine"}
SIGNED = {"text": "", "thought_signature": "c2ln"}
CALL = {"function_call": {"name": "f", "args_json": "{}"}}
THOUGHT = {"text": "hm", "thought": True}
NOTHING: list[dict[str, Any]] = [
    {},
    {"text": ""},
    {"text": "", "thought": True},
    {"thought": True},
    {"video_metadata": {}},
    {"function_call": {"name": "", "args_json": "{}"}},
    {"function_call": {"name": "f", **PIECE}},
    {"function_call": {"name": "f", "will_continue": True}, "thought_signature": "c2ln"},
]


def parts(*values: dict[str, Any]) -> list[content.Part]:
    """Return parts, each of its JSON."""
    return [ParseDict(value, content.Part()) for value in values]


def answer(said: Sequence[dict[str, Any]], finish: Any = STOP) -> content.Candidate:
    """Return a candidate of these parts."""
    turn = content.Content(role="model", parts=parts(*said))
    return content.Candidate(content=turn, finish_reason=finish)


def codes(events: list[Any]) -> list[str]:
    """Return the codes of the warnings of an execution's end."""
    last = events[-1]
    ended = last.completed if hasattr(last, "completed") else last.started
    return [warning.code for warning in ended.warnings]


def test_the_page_has_the_same_table() -> None:
    """docs/sessions.md lists every finish reason of the contract, where the code puts it."""
    page = Path("docs/sessions.md").read_text()
    rows = re.findall(r"^  \| ([A-Z_, a-z]+) \|.*\|$", page, re.MULTILINE)[1:]
    goes_on, left_out, half = ([*re.findall(r"\b[A-Z_]{4,}\b", row)] for row in rows)
    names = {
        reason: content.FinishReason.Name(reason)[len("FINISH_REASON_") :] for reason in REASONS
    }
    assert {names[one] for one in GOES_ON} - {"UNSPECIFIED"} == set(goes_on)
    assert {names[one] for one in {*REASONS} - GOES_ON - {HALF}} == set(left_out)
    assert [names[HALF]] == half


@ways
@pytest.mark.parametrize("reason", REASONS, ids=content.FinishReason.Name)
async def test_an_answer_goes_on_or_is_told_not_to(
    clock: FakeClock, stream: bool, reason: Any
) -> None:
    """Text that ended for whatever reason is sent with the next turn, or has a warning."""
    desk = Desk(clock, reply("text", finish=reason), stream=stream)
    await desk.create()
    events = await desk.ask("a")
    await desk.ask("b")
    kept = reason in GOES_ON
    turn = [say("a"), say("text", role="model")] if kept else []
    assert ([*turn, say("b")], [] if kept else ["SESSION_TURN_NOT_KEPT"]) == (
        desk.sent(),
        codes(events),
    )
    assert (1 if reason == HALF else 2) == desk.kept().turns


@ways
@pytest.mark.parametrize("nothing", NOTHING)
async def test_what_says_nothing_is_not_sent_again(
    clock: FakeClock, stream: bool, nothing: dict[str, Any]
) -> None:
    """Alone, it leaves the turn out, with a warning; beside something, it is what is left out."""
    desk = Desk(clock, reply(*parts(nothing)), reply(*parts(nothing, FINE)), stream=stream)
    await desk.create()
    first = await desk.ask("a")
    second = await desk.ask("b")
    await desk.ask("c")
    assert [say("b"), say("fine", role="model"), say("c")] == desk.sent()
    assert ["SESSION_TURN_NOT_KEPT"] == codes(first)
    lost = ["SESSION_CALL_NOT_KEPT"] if "function_call" in nothing else []
    assert lost == codes(second)


@pytest.mark.parametrize("said", [[THOUGHT], [{**THOUGHT, "thought_signature": "c2ln"}], []])
def test_thoughts_alone_are_no_answer(said: list[dict[str, Any]]) -> None:
    """A content without parts, or of nothing but thoughts, is not sent again."""
    output, warning = kept_answer(answer(said, content.FINISH_REASON_MAX_TOKENS))
    assert (None, "SESSION_TURN_NOT_KEPT") == (output, warning and warning.code)


@pytest.mark.parametrize(
    "said",
    [
        [FINE],
        [FINE, SIGNED],
        [SIGNED],
        [THOUGHT, SIGNED],
        [THOUGHT, CALL],
        [{"extra_json": '{"new":1}'}],
        [{"inline_data": {"mime_type": "image/png", "data": "AAAA"}}],
        [{"thought_signature": "c2ln"}],
    ],
)
def test_what_says_something_is_sent_as_it_came(said: list[dict[str, Any]]) -> None:
    """Signatures on empty texts, parts of an unknown kind and media among it."""
    given = content.Content(role="model", parts=parts(*said))
    assert sendable(given) is given


def test_pieces_with_nothing_between_them_are_one_call() -> None:
    """Empty texts between the pieces of a call do not take it apart."""
    call = {"function_call": {"name": "f", "will_continue": True}}
    output, warning = kept_answer(
        answer([FINE, call, {"text": ""}, {"function_call": PIECE}, {}, {"function_call": {}}])
    )
    whole = content.FunctionCall(name="f", args={"a": "x"}, args_json='{"a":"x"}')
    expected = content.Content(
        role="model", parts=[*parts(FINE), content.Part(function_call=whole)]
    )
    assert (expected, None) == (output, warning)


async def test_turns_of_before_are_cleaned_as_well(clock: FakeClock) -> None:
    """What an earlier version stored, or a history brought, is sent without what says nothing."""
    desk = Desk(clock)
    history = [say("a"), content.Content(role="model", parts=parts({}, FINE, {"text": ""}))]
    await desk.create(history=[*history, say("b"), content.Content(role="model", parts=parts({}))])
    begun(await desk.ask("c"))
    assert [say("a"), say("fine", role="model"), say("b"), say("c")] == desk.sent()
