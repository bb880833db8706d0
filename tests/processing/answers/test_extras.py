"""What has no name in the contract, in an answer that is put together and kept.

Covers: processing/json_objects.py
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.policies.cache.codec import Recording, events_of
from gemini_backend.processing.answers.delta_buffer import DeltaBuffer
from gemini_backend.processing.answers.delta_merge import joined
from gemini_backend.processing.answers.extras import put_text
from gemini_backend.processing.answers.whole_answer import candidates_of, response_of
from tests.support.messages.calls import completed, started
from tests.support.upstreams.counting_upstream import answer_of

DEEP = '{"deep":' + '{"a":' * 60 + "1" + "}" * 60 + "}"
BIG = '{"id":9007199254740993,"x":1.0}'


def delta(text: str = "", **texts: str) -> pb.Delta:
    """Return a delta as the model API's is read: texts, and Structs where they can be."""
    made = pb.Delta(parts=[content.Part(text=text)] if text else [])
    for name, value in texts.items():
        put_text(made, value, name)
    return made


def whole(*deltas: pb.Delta) -> content.Candidate:
    """Return the candidate that these come to, by each of the ways there are."""
    pieces = DeltaBuffer()
    for one in deltas:
        pieces.take(one)
    (found,) = pieces.candidates()
    assert [found] == candidates_of(joined(deltas)) == candidates_of(deltas)
    return found


def kept(*deltas: pb.Delta) -> pb.ProcessResponse:
    """Return what the cache gives for a stream of these, as a whole answer."""
    recording = Recording(1_000_000)
    events = [pb.ExecuteResponse(delta=one) for one in deltas]
    done = [recording.take(event) for event in (started(), *events, completed())][-1]
    assert done is not None
    return response_of(done)


def test_one_text_stays_to_the_letter() -> None:
    """What one piece says, and none after it, is the text that it was."""
    found = whole(delta("a"), delta("b", extra=BIG), delta("c"))
    assert (BIG, 1.0) == (found.extra_json, found.extra["x"])
    assert BIG == kept(delta("a"), delta("b", extra=BIG)).candidates[0].extra_json


def test_several_texts_become_one() -> None:
    """In order; what a later piece names as well, it names for both."""
    found = whole(delta("a", extra='{"a":1.0,"b":1.50}'), delta("b", extra='{"b":1e5,"c":[ ]}'))
    assert '{"a":1.0,"b":1e5,"c":[ ]}' == found.extra_json
    assert [1.0, 1e5] == [found.extra["a"], found.extra["b"]]


def test_what_a_turn_has_goes_back_to_the_turn() -> None:
    """Beside parts and role of a content; pieces of it are put together too."""
    found = whole(
        delta("a", extra='{"content":{"x":1.0},"y":2}'),
        delta("b", extra='{"content":{"z":9007199254740993}}'),
    )
    assert '{"x":1.0,"z":9007199254740993}' == found.content.extra_json
    assert ('{"y":2}', 2.0) == (found.extra_json, found.extra["y"])
    assert "content" not in found.extra


def test_an_empty_turn_is_a_turn() -> None:
    """A content without anything is not the same as none."""
    found = whole(delta(extra='{"content":{}}'))
    assert found.HasField("content")
    assert ("", False) == (found.extra_json, found.HasField("extra"))
    assert "" == found.content.extra_json


def test_what_is_no_turn_stays_beside() -> None:
    """A content of another kind than an object is kept as it came."""
    found = whole(delta("a", extra='{"content":[1.0]}'))
    assert '{"content":[1.0]}' == found.extra_json


@pytest.mark.parametrize(
    ("texts", "expected"),
    [((DEEP, BIG), DEEP[:-1] + "," + BIG[1:]), ((BIG, DEEP), BIG[:-1] + "," + DEEP[1:])],
)
def test_what_no_struct_holds_is_held_as_text(texts: tuple[str, str], expected: str) -> None:
    """There is no Struct with half of it."""
    found = whole(*(delta("a", extra=text) for text in texts))
    assert (expected, False) == (found.extra_json, found.HasField("extra"))


def test_structs_alone_are_put_together_too() -> None:
    """An upstream of somebody else's may give no texts."""
    first, second = pb.Delta(), pb.Delta()
    first.extra.update({"a": 1})
    second.extra.update({"b": 1.5})
    found = whole(first, second)
    assert {"a": 1, "b": 1.5} == json.loads(found.extra_json)
    assert 1.5 == found.extra["b"]
    assert 1.0 == whole(first).extra["a"]


def test_fields_of_the_answer_are_kept_to_the_letter() -> None:
    """Beside the candidates: of one piece, of several, in a cache, as events and as a whole."""
    pieces = [delta("a", response_extra=BIG), delta("b", response_extra='{"x":2.0,"y":3}')]
    assert BIG == kept(pieces[0]).extra_json
    assert '{"id":9007199254740993,"x":2.0,"y":3}' == kept(*pieces).extra_json


def everything() -> pb.ProcessResponse:
    """Return an answer with free JSON in every place that has some."""
    response = answer_of()
    response.candidates[0].index = 0
    places: list[Any] = [response, response.candidates[0], response.candidates[0].content]
    part = response.candidates[0].content.parts.add()
    places += [part, response.candidates[0].citation_metadata]
    for number, place in enumerate(places):
        put_text(place, f'{{"id":{2**53 + 1},"n{number}":1.0}}')
    call = content.FunctionCall(name="f", args_json='{"z":1.0,"a":1e400}')
    response.candidates[0].content.parts.add(function_call=call)
    return response


def test_a_whole_answer_is_the_same_out_of_the_cache() -> None:
    """What Process answered is kept as events; every text in it comes out as it went in."""
    response = everything()
    events = events_of(response)
    assert events is not None
    again = response_of(events)
    again.started.cache_status = pb.CACHE_STATUS_UNSPECIFIED
    assert response == again


def test_citations_by_either_name_are_all_kept() -> None:
    """Gemini's and Vertex AI's, each work once."""
    first, second = delta("a"), delta("b")
    first.citation_metadata.citations.add(uri="https://a.test")
    first.citation_metadata.citation_sources.add(uri="https://s.test")
    second.citation_metadata.citations.add(uri="https://a.test")
    second.citation_metadata.citations.add(uri="https://b.test")
    put_text(second.citation_metadata, BIG)
    found = whole(first, second).citation_metadata
    assert ["https://a.test", "https://b.test"] == [one.uri for one in found.citations]
    assert ["https://s.test"] == [one.uri for one in found.citation_sources]
    assert BIG == found.extra_json


def test_a_token_to_go_on_with_is_kept_with_its_candidate() -> None:
    """An answer that was broken off says so wherever it is put together."""
    piece = delta("a")
    piece.continuation_token = b"token"
    assert b"token" == whole(delta("b"), piece).continuation_token


@pytest.mark.parametrize(
    "odd", ['{"parts":[]}', '{"parts":{}}', '{"role":5}', '{"parts":[],"role":5}']
)
@pytest.mark.parametrize("first", [False, True])
def test_what_another_piece_sets_is_said_once(odd: str, first: bool) -> None:
    """A field that one piece leaves out oddly, and another one sets, is not kept twice."""
    text = delta("a")
    text.role = "model"
    strange = delta(extra='{"content":' + odd + "}")
    order = (strange, text) if first else (text, strange)
    turn = whole(*order).content
    assert ("model", ["a"], "", False) == (
        turn.role,
        [part.text for part in turn.parts],
        turn.extra_json,
        turn.HasField("extra"),
    )
    assert turn == kept(*order).candidates[0].content


def test_what_no_piece_sets_stays() -> None:
    """What is odd in every piece, or has no name, is kept to the letter."""
    odd = delta(extra='{"content":{"parts":[],"new":1.0}}')
    assert whole(odd).content.extra_json == '{"parts":[],"new":1.0}'
    assert whole(odd, delta("a")).content.extra_json == '{"new":1.0}'
