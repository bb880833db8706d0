"""Text that is not Unicode: joined where its other half comes, else replaced and told.

Covers: upstream/gemini/body/decode.py, upstream/gemini/body/loose_json.py,
upstream/gemini/body/whole_body.py, upstream/gemini/translation/wire.py
"""

from __future__ import annotations

import itertools
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.errors import ServiceError
from gemini_backend.upstream.base import EmbedBatch
from gemini_backend.upstream.gemini.answer import unary_answer
from gemini_backend.upstream.gemini.answer.stream_answer import AnswerStream
from gemini_backend.upstream.gemini.failure.classification import Failures
from gemini_backend.upstream.gemini.failure.error_body import ErrorBody
from gemini_backend.upstream.gemini.requests import embeddings
from gemini_backend.upstream.gemini.requests.listing import Listing
from tests.upstream.gemini.answer.test_answer_end import parts
from tests.upstream.gemini.answer.test_stream_answer import event, kinds, texts

if TYPE_CHECKING:
    from collections.abc import Sequence

SMILE = "\U0001f600"
HIGH, LOW = SMILE.encode("utf-16-be")[:2], SMILE.encode("utf-16-be")[2:]
FIRST, SECOND = (half.decode("utf-16-be", "surrogatepass") for half in (HIGH, LOW))
STOP = {"finishReason": "STOP"}
REPLACED = ["TEXT_REPLACED"]


def stream(*reads: Sequence[Any], merge: bool = True) -> list[pb.ExecuteResponse]:
    """Feed reads of events, escaped as ASCII; return what the caller gets."""
    answer = AnswerStream("models/m", Failures(), merge=merge)
    out = []
    for read in reads:
        out += answer.feed([e if isinstance(e, bytes) else json.dumps(e).encode() for e in read])
        assert answer.failure is None
    out += answer.finish()
    return [pb.ExecuteResponse.FromString(found.SerializeToString()) for found in out]


def warned(events: list[pb.ExecuteResponse]) -> list[str]:
    """Return the codes of the warnings at the end."""
    return [warning.code for warning in events[-1].completed.warnings]


THOUGHT = {"text": "hm", "thought": True}
BETWEEN: list[list[Any]] = [
    [],
    [{"usageMetadata": {"totalTokenCount": 1}}],
    [parts(THOUGHT)],
    [event("other", index=1, **STOP)],
    [parts({"functionCall": {"name": "f", "args": {}}})],
    [event("")],
    [b"null", event(groundingMetadata={"webSearchQueries": ["q"]})],
    [event("", finishReason="STOP")],
]


@pytest.mark.parametrize("merge", [True, False])
@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("between", BETWEEN)
def test_a_pair_cut_over_two_pieces_is_one_character(
    between: list[Any], *, together: bool, merge: bool
) -> None:
    """In one read or two, whatever stands between them, and nobody is warned."""
    events = [event("a" + FIRST), *between, event(SECOND + "b", **STOP)]
    found = stream(events, merge=merge) if together else stream(*([e] for e in events), merge=merge)
    said = "".join(
        part.text
        for e in found
        for part in e.delta.parts
        if not e.delta.candidate_index and not part.thought
    )
    assert f"a{SMILE}b" == said
    assert [] == warned(found)


def test_texts_of_each_kind_go_on_with_their_own() -> None:
    """Thoughts and answers of two candidates, all cut at once."""
    halves = [
        parts({"text": FIRST, "thought": True}, {"text": FIRST}),
        event(FIRST, index=1),
        parts({"text": SECOND, "thought": True}, {"text": SECOND}, **STOP),
        event(SECOND, index=1, **STOP),
    ]
    found = stream(halves)
    said = [(e.delta.candidate_index, p.thought, p.text) for e in found for p in e.delta.parts]
    full = sorted(one for one in said if one[2])
    assert [(0, False, SMILE), (0, True, SMILE), (1, False, SMILE)] == full


@pytest.mark.parametrize("merge", [True, False])
@pytest.mark.parametrize(
    ("said", "text"),
    [
        (["bad " + FIRST + " half"], "bad \ufffd half"),
        (["bad " + SECOND + " half"], "bad \ufffd half"),
        (["a", "b" + FIRST, "c"], "ab\ufffdc"),
        (["a" + FIRST, FIRST + "c"], "a\ufffd\ufffdc"),
        (["a" + FIRST, FIRST, SECOND + "c"], f"a\ufffd{SMILE}c"),
        (["end" + FIRST], "end\ufffd"),
        (["end" + FIRST, ""], "end\ufffd"),
        ([FIRST], "\ufffd"),
        ([SECOND], "\ufffd"),
    ],
)
def test_a_lone_half_is_replaced_and_told(said: list[str], text: str, *, merge: bool) -> None:
    """By U+FFFD, in its place, be it the last thing said."""
    *first, last = said
    found = stream([*(event(one) for one in first), event(last, **STOP)], merge=merge)
    assert text == "".join(texts(found))
    assert REPLACED == warned(found)


def test_what_comes_before_a_half_does_not_wait_for_the_other() -> None:
    """Only the half itself is held back."""
    answer = AnswerStream("models/m", Failures(), merge=True)
    out = answer.feed([json.dumps(event("smile " + FIRST)).encode()])
    assert ["started", "delta"] == kinds(out)
    assert ["smile "] == texts(out)


@given(
    text=st.text(st.sampled_from("a\u00e9" + SMILE + "\ufffd"), max_size=8),
    places=st.lists(st.integers(0, 16), max_size=4),
    finishes=st.booleans(),
)
def test_any_text_cut_anywhere_comes_out_as_it_was(
    text: str, places: list[int], *, finishes: bool
) -> None:
    """Also where every piece has a finish reason."""
    units = (text + "!").encode("utf-16-le")
    edges = [0, *sorted(2 * (p % (len(units) // 2)) for p in places), len(units)]
    pieces = [units[a:b].decode("utf-16-le", "surrogatepass") for a, b in itertools.pairwise(edges)]
    more = STOP if finishes else {}
    found = stream([event(one, **more) for one in pieces[:-1]], [event(pieces[-1], **STOP)])
    assert text + "!" == "".join(texts(found))
    assert [] == warned(found)


def test_bytes_that_are_not_utf_8_are_replaced_and_told() -> None:
    """In an event; halves in CESU-8, as Java writes them, are joined."""
    bad = json.dumps(event("bad X byte", **STOP)).encode().replace(b"X", b"\xff")
    found = stream([bad])
    assert ["bad \ufffd byte"] == texts(found)
    assert REPLACED == warned(found)
    pair = FIRST.encode("utf-8", "surrogatepass") + SECOND.encode("utf-8", "surrogatepass")
    found = stream([json.dumps(event("a X b", **STOP)).encode().replace(b"X", pair)])
    assert [f"a {SMILE} b"] == texts(found)
    assert [] == warned(found)


def test_arguments_keys_and_unknown_fields_are_mended() -> None:
    """Wherever a text stands."""
    call = {"functionCall": {"name": "f", "args": {"k" + FIRST: ["x" + SECOND, {"y": SMILE}]}}}
    found = stream([parts({**call, "new" + FIRST: FIRST}, **STOP)])
    made = found[1].delta.parts[0]
    assert {"k\ufffd": ["x\ufffd", {"y": SMILE}]} == json.loads(json.dumps(_plain(made)))
    assert {"new\ufffd": "\ufffd"} == dict(made.extra.items())
    assert REPLACED == warned(found)


def _plain(part: Any) -> Any:
    return {
        key: [item if isinstance(item, str) else dict(item.items()) for item in value]
        for key, value in part.function_call.args.items()
    }


def test_an_argument_that_comes_in_pieces_is_joined() -> None:
    """By its path, as long as it says that it goes on."""

    def piece(text: str, **more: Any) -> dict[str, Any]:
        found = [{"jsonPath": "$.a", "stringValue": text, **more}]
        return parts({"functionCall": {"partialArgs": found, "willContinue": True}})

    found = stream(
        [piece("a" + FIRST, willContinue=True)], [piece(SECOND + "b")], [event("c", **STOP)]
    )
    values = [
        piece.string_value
        for e in found
        for part in e.delta.parts
        for piece in part.function_call.partial_args
    ]
    assert ["a", f"{SMILE}b"] == values
    assert [] == warned(found)


@pytest.mark.parametrize(
    ("literal", "kept"),
    [
        ("NaN", '"NaN"'),
        ("Infinity", '"Infinity"'),
        ("-Infinity", '"-Infinity"'),
        ("1e999", "1e999"),
    ],
)
def test_numbers_that_json_does_not_have_are_kept_as_text(literal: str, kept: str) -> None:
    """In a stream and in a whole answer; nobody is warned, for nothing is lost."""
    body = json.dumps(event("a", avgLogprobs=0.125, **STOP)).replace("0.125", literal).encode()
    found = stream([body])
    assert f'{{"avgLogprobs":{kept}}}' == found[1].delta.extra_json
    assert [] == warned(found)
    made = unary_answer.response(body, "models/m", Failures())
    assert f'{{"avgLogprobs":{kept}}}' == made.candidates[0].extra_json


def test_the_rest_of_a_mended_payload_stays_to_the_letter() -> None:
    """Numbers, their digits, and the order of keys."""
    args = r'{"z": 1.0, "big": 12345678901234567890, "e": 1E+2, "a\ud83d": "\u00e9 \ud83d\ude00"}'
    call = json.dumps(parts({"functionCall": {"name": "f", "args": 0}}, avgLogprobs=1, **STOP))
    body = call.replace('"args": 0', f'"args": {args}').replace("1,", "NaN,").encode()
    found = stream([body])
    expected = args.replace(r'"a\ud83d"', '"a\ufffd"')
    assert expected == found[1].delta.parts[0].function_call.args_json
    assert REPLACED == warned(found)


@pytest.mark.parametrize(
    ("said", "text", "codes"),
    [
        (["a " + FIRST + " b"], "a \ufffd b", REPLACED),
        (["a" + FIRST, SECOND + "b"], f"a{SMILE}b", []),
        (["a" + FIRST], "a\ufffd", REPLACED),
    ],
)
def test_whole_answers_are_mended_too(said: list[str], text: str, codes: list[str]) -> None:
    """The warning stands in `started`."""
    body = json.dumps(parts(*({"text": one} for one in said), **STOP)).encode()
    made = unary_answer.response(body, "models/m", Failures())
    made = pb.ProcessResponse.FromString(made.SerializeToString())
    assert text == "".join(part.text for part in made.candidates[0].content.parts)
    assert codes == [warning.code for warning in made.started.warnings]


def test_other_bodies_are_mended_too() -> None:
    """Counts, vectors, models and errors never fail for a text that is beside the matter."""
    bad = b'"x \\ud83d y\xff"'
    counted = unary_answer.token_count(
        b'{"totalTokens": 7, "note": ' + bad + b"}", "models/m", Failures()
    )
    assert (7, "x \ufffd y\ufffd") == (counted.total_tokens, counted.extra["note"])
    batch = EmbedBatch("models/m", [pb.EmbedRequest(contents=[{}])])
    body = b'{"embeddings": [{"values": [0.5], "note": ' + bad + b"}]}"
    assert [0.5] == embeddings.response(body, batch, Failures()).embeddings[0].values
    listing = Listing()
    listing.take(b'{"models": [{"name": "models/a", "displayName": ' + bad + b"}]}")
    assert "x \ufffd y\ufffd" == listing.models[0].display_name
    error = ErrorBody.parse(503, b'{"error": {"code": 503, "message": ' + bad + b"}}")
    assert error is not None
    assert "x \ufffd y\ufffd" == error.reply.message


ARGS = {"functionCall": {"name": "f", "args": {"k": [1.5, SMILE]}}}
BLOB = {"inlineData": {"mimeType": "a/b", "data": "AAAA"}}
OTHERS = {"totalTokens": 1, "embeddings": [{"values": [1]}], "models": [{"name": "a"}]}
BODIES = [
    json.dumps(body).encode()
    for body in (
        event("a \ud83d b", avgLogprobs=0.5, **STOP),
        [parts(ARGS, **STOP)],
        {"response": parts(BLOB)},
        {"error": {"code": 503, "message": SMILE, "details": [{"@type": "x"}]}},
        OTHERS,
    )
]


@given(
    body=st.sampled_from(BODIES),
    changes=st.lists(
        st.tuples(st.integers(0, 400), st.integers(0, 8), st.binary(max_size=4)), max_size=4
    ),
)
def test_whatever_bytes_are_changed_nothing_unexpected_happens(
    body: bytes, changes: list[tuple[int, int, bytes]]
) -> None:
    """Every reader reads it, or fails with one of our own errors; what it reads can be sent."""
    for at, gone, new in changes:
        body = body[: at % len(body)] + new + body[at % len(body) + gone :] or b"x"
    batch = EmbedBatch("models/m", [pb.EmbedRequest(contents=[{}])])
    answer = AnswerStream("models/m", Failures(), merge=True)
    made: list[Any] = answer.feed([body])
    for read in (
        answer.finish,
        lambda: unary_answer.response(body, "models/m", Failures()),
        lambda: unary_answer.token_count(body, "models/m", Failures()),
        lambda: embeddings.response(body, batch, Failures()),
        lambda: Listing().take(body),
        lambda: ErrorBody.parse(503, body),
    ):
        with suppress(ServiceError):
            made.append(read())
    for found in made:
        if isinstance(found, pb.ProcessResponse | pb.ExecuteResponse | pb.EmbedResponse):
            sent = found.SerializeToString(deterministic=True)
            again = type(found).FromString(sent)
            assert sent == again.SerializeToString(deterministic=True)
