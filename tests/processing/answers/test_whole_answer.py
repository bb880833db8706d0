"""A whole answer says what its pieces said."""

from __future__ import annotations

from typing import Any

import pytest

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.processing.answers.delta_merge import joined
from gemini_backend.processing.answers.whole_answer import candidates_of, response_of

STOP = content.FINISH_REASON_STOP


def finished(text: str, **reason: Any) -> pb.ExecuteResponse:
    """Return a piece with a finish reason."""
    return pb.ExecuteResponse(delta=pb.Delta(parts=[content.Part(text=text)], **reason))


@pytest.mark.parametrize("reason", [0, STOP])
def test_a_reason_that_is_none_does_not_replace_one(reason: Any) -> None:
    """A piece that says "unspecified" behind the last one leaves the reason as it is."""
    late = finished("b", finish_reason_raw="FINISH_REASON_UNSPECIFIED")
    events = [finished("a", finish_reason=reason), late]
    (candidate,) = response_of([event.SerializeToString() for event in events]).candidates
    raw = "" if reason else "FINISH_REASON_UNSPECIFIED"
    assert (reason, raw) == (candidate.finish_reason, candidate.finish_reason_raw)


@pytest.mark.parametrize(
    ("tokens", "kept"),
    [((b"within", b"", b"end"), b"end"), ((b"within", b"", b""), b""), ((b"", b"x", b""), b"")],
)
def test_a_candidate_has_the_token_of_its_end(tokens: tuple[bytes, ...], kept: bytes) -> None:
    """A token of a piece in the middle is none of the whole: it leads to what is there already."""
    pieces = [pb.Delta(continuation_token=token, parts=[{"text": "a"}]) for token in tokens]
    pieces[-1].finish_reason = content.FINISH_REASON_CONTINUATION
    for read in (pieces, joined(pieces)):
        (candidate,) = candidates_of(read)
        assert ("aaa", kept) == (candidate.content.parts[0].text, candidate.continuation_token)
