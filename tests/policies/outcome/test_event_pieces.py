"""Events that are larger than a client takes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.policies.outcome.event_pieces import in_pieces

LIMIT = 65_536


def picture(size: int, **more: Any) -> content.Part:
    """Return a part with so many bytes."""
    data = bytes(number % 251 for number in range(size))
    return content.Part(inline_data=content.Blob(mime_type="image/png", data=data), **more)


def event(*parts: content.Part, **fields: Any) -> pb.ExecuteResponse:
    """Return one delta."""
    return pb.ExecuteResponse(delta=pb.Delta(parts=parts, **fields))


def put_together(pieces: list[pb.ExecuteResponse]) -> pb.ExecuteResponse:
    """Return the event that pieces were cut from, as a client may put it together."""
    whole = pb.ExecuteResponse()
    whole.CopyFrom(pieces[-1])
    del whole.delta.parts[:]
    under_way = b""
    text: str | None = None
    for part in (part for piece in pieces for part in piece.delta.parts):
        made = content.Part()
        made.CopyFrom(part)
        if part.HasField("blob_chunk"):
            assert len(under_way) == part.blob_chunk.offset
            under_way += part.blob_chunk.data
            if not part.blob_chunk.last:
                continue
            assert len(under_way) == part.blob_chunk.total_bytes
            made.inline_data.mime_type = part.blob_chunk.mime_type
            made.inline_data.data, under_way = under_way, b""
        if part.HasField("text"):
            text = (text or "") + part.text
            made.text = text
        whole.delta.parts.append(made)
    return whole


def test_a_small_event_stays_as_it_is() -> None:
    """What fits is handed on as the same object."""
    small = event(content.Part(text="hello"), finish_reason=content.FINISH_REASON_STOP)
    assert [small] == list(in_pieces(small, LIMIT))
    assert small is next(in_pieces(small, LIMIT))


def test_a_blob_comes_in_chunks_that_make_it_again() -> None:
    """Each piece fits, offsets have no gap, and only the last one is marked."""
    big = event(
        picture(400_000, thought_signature=b"s", thought=True),
        candidate_index=1,
        role="model",
        upstream_event=7,
        finish_reason=content.FINISH_REASON_STOP,
        usage=content.Usage(prompt_token_count=3),
    )
    pieces = list(in_pieces(big, LIMIT))
    assert all(piece.ByteSize() <= LIMIT for piece in pieces)
    assert {1} == {piece.delta.candidate_index for piece in pieces}
    assert {7} == {piece.delta.upstream_event for piece in pieces}
    lasts = [part.blob_chunk.last for piece in pieces for part in piece.delta.parts]
    assert [False] * (len(lasts) - 1) + [True] == lasts
    assert {True} == {part.thought for piece in pieces for part in piece.delta.parts}
    assert big == put_together(pieces)


def test_what_the_delta_says_comes_once_and_last() -> None:
    """Finish reason, usage and grounding stand on the last piece alone."""
    big = event(picture(200_000), finish_reason=content.FINISH_REASON_STOP)
    pieces = list(in_pieces(big, LIMIT))
    assert [0] * (len(pieces) - 1) + [1] == [piece.delta.finish_reason for piece in pieces]


def test_a_text_is_cut_between_characters() -> None:
    """Pieces of a long text are valid, fit, and join to the same text."""
    text = "äöü😀" * 40_000
    big = event(content.Part(text=text, thought_signature=b"sig"))
    pieces = list(in_pieces(big, LIMIT))
    assert all(piece.ByteSize() <= LIMIT for piece in pieces)
    parts = [part for piece in pieces for part in piece.delta.parts]
    assert text == "".join(part.text for part in parts)
    assert [b""] * (len(parts) - 1) + [b"sig"] == [part.thought_signature for part in parts]


def test_parts_that_fit_alone_are_only_parted() -> None:
    """Two pictures that fit one by one are two events with whole blobs."""
    big = event(picture(40_000), picture(40_000))
    pieces = list(in_pieces(big, LIMIT))
    kinds = [part.WhichOneof("data") for piece in pieces for part in piece.delta.parts]
    assert (2, ["inline_data"] * 2) == (len(pieces), kinds)


def test_what_cannot_be_cut_stays_whole() -> None:
    """The arguments of one call come in one event, whatever its size."""
    call = content.FunctionCall(name="f", args_json='{"x":"' + "y" * 200_000 + '"}')
    big = event(content.Part(function_call=call))
    assert big == put_together(list(in_pieces(big, LIMIT)))
    assert 1 == len(list(in_pieces(big, LIMIT)))


@pytest.mark.parametrize("kind", ["started", "completed", "usage"])
def test_only_deltas_are_cut(kind: str) -> None:
    """An event of another kind is handed on as it is."""
    warning = pb.Warning(code="A", message="x" * 200_000)
    made = {
        "started": pb.ExecuteResponse(started=pb.Started(warnings=[warning])),
        "completed": pb.ExecuteResponse(completed=pb.Completed(warnings=[warning])),
        "usage": pb.ExecuteResponse(usage=content.Usage(extra_json="x" * 200_000)),
    }[kind]
    assert [made] == list(in_pieces(made, LIMIT))


@settings(max_examples=30)
@given(sizes=st.lists(st.integers(1, 200_000), min_size=1, max_size=3))
def test_any_blobs_come_back(sizes: list[int]) -> None:
    """Whatever the sizes, every piece fits and nothing is lost or doubled."""
    big = event(*(picture(size) for size in sizes))
    pieces = list(in_pieces(big, LIMIT))
    assert all(piece.ByteSize() <= LIMIT for piece in pieces)
    assert big == put_together(pieces)
