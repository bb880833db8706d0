"""Calls whose arguments came in pieces, as they go back to the model."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.policies.conversations.call_fragments import with_whole_calls
from gemini_backend.policies.conversations.conversation import turn_of

NAME = {"name": "write", "id": "c1", "will_continue": True}


def parts(*calls: dict[str, Any]) -> list[content.Part]:
    """Return a part for each call."""
    return [ParseDict({"function_call": call}, content.Part()) for call in calls]


def piece(path: str, **delta: Any) -> dict[str, Any]:
    """Return a call with one piece of arguments."""
    return {"partial_args": [{"json_path": path, **delta}], "will_continue": True}


def args(*pieces: dict[str, Any]) -> Any:
    """Return the arguments that pieces come to."""
    (whole,) = with_whole_calls(parts(NAME, *pieces, {}))
    return json.loads(whole.function_call.args_json)


def test_pieces_become_one_call() -> None:
    """With its name, id, signature and arguments; what stands round it stays."""
    called = parts(
        NAME,
        piece("$.path", string_value="a.t", will_continue=True),
        piece("$.path", string_value="xt"),
        piece("$.n", number_value=3),
        {},
    )
    called[0].thought_signature = b"signature"
    text = content.Part(text="before")
    before, whole, after = with_whole_calls([text, *called, text])
    assert [text, text] == [before, after]
    assert (
        content.Part(
            function_call=content.FunctionCall(
                name="write",
                id="c1",
                args={"path": "a.txt", "n": 3},
                args_json='{"path":"a.txt","n":3}',
            ),
            thought_signature=b"signature",
        )
        == whole
    )


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([], {}),
        ([piece("$.b", bool_value=True), piece("$.z", null_value=None)], {"b": True, "z": None}),
        (
            [piece("$.x", number_value=1.5), piece("$.y", number_value=2**53)],
            {"x": 1.5, "y": 2**53},
        ),
        ([piece("$.a.b.c", string_value="d")], {"a": {"b": {"c": "d"}}}),
        ([piece("$['a b'].c", string_value="d")], {"a b": {"c": "d"}}),
        (
            [piece("$.l[0].n", number_value=1), piece("$.l[1].n", number_value=2)],
            {"l": [{"n": 1}, {"n": 2}]},
        ),
        (
            [
                piece("$.a", string_value="x", will_continue=True),
                piece("$.a", will_continue=True),
                piece("$.a", string_value="y"),
                piece("$.b", string_value="z"),
            ],
            {"a": "xy", "b": "z"},
        ),
        ([piece("$.a", string_value="x"), piece("$.a", string_value="y")], {"a": "y"}),
    ],
)
def test_paths_and_values(pieces: list[dict[str, Any]], expected: Any) -> None:
    """Each kind of value stands where its path says; a text goes on only where it says so."""
    assert expected == args(*pieces)


def test_a_call_may_begin_with_arguments() -> None:
    """Pieces are added to what the call has already, which keeps its digits."""
    called = parts(NAME, piece("$.n", number_value=1), {})
    called[0].function_call.args_json = '{"id":9007199254740993}'
    (whole,) = with_whole_calls(called)
    assert '{"id":9007199254740993,"n":1}' == whole.function_call.args_json


def test_a_call_of_one_piece_is_joined_too() -> None:
    """A piece after which nothing follows is the whole of its call."""
    (whole,) = with_whole_calls(
        parts({"name": "f", "partial_args": [{"json_path": "$.n", "number_value": 1}]})
    )
    assert content.FunctionCall(name="f", args={"n": 1}, args_json='{"n":1}') == whole.function_call


def test_two_calls_after_each_other() -> None:
    """Each has its own pieces."""
    called = parts(NAME, piece("$.n", number_value=1), {}, NAME, piece("$.n", number_value=2), {})
    assert ['{"n":1}', '{"n":2}'] == [
        one.function_call.args_json for one in with_whole_calls(called)
    ]


@pytest.mark.parametrize(
    "called",
    [
        parts({"name": "f", "args_json": "{}"}, {"name": "g"}),
        parts(NAME, piece("$.n", number_value=1)),
        parts(NAME, {"name": "other"}),
        parts(NAME, piece("$.n[2]", number_value=1), {}),
        parts(NAME, piece("n", number_value=1), {}),
        parts(NAME, piece("$", string_value="x"), {}),
        parts(NAME, piece("$..n", number_value=1), {}),
        parts(NAME, piece("$.n", number_value=1), piece("$.n.m", number_value=1), {}),
        parts(NAME, {**piece("$.n", number_value=1), "extra_json": '{"new":1}'}, {}),
        parts(NAME, piece("$.n", number_value=1, extra_json='{"new":1}'), {}),
    ],
)
def test_what_cannot_be_joined_stays(called: list[content.Part]) -> None:
    """Whole calls, calls without an end, odd paths, and pieces that say something of their own."""
    assert called == with_whole_calls(called)


def test_a_session_keeps_the_whole_call() -> None:
    """The turn that goes back to the model has no pieces."""
    turn = content.Content(role="model", parts=parts(NAME, piece("$.n", number_value=1), {}))
    candidate = content.Candidate(content=turn, finish_reason=content.FINISH_REASON_STOP)
    kept, _ = turn_of(pb.ExecuteRequest(prompt="x"), [candidate], 1, 0.0)
    assert ['{"n":1}'] == [part.function_call.args_json for part in kept.output.parts]
