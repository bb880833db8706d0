"""Base64 in either alphabet, padded or not: the bytes are kept, whatever the text."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.upstream.gemini.answer import unary_answer
from gemini_backend.upstream.gemini.answer.stream_answer import AnswerStream
from gemini_backend.upstream.gemini.failure.classification import Failures
from gemini_backend.upstream.gemini.requests import generate
from gemini_backend.upstream.gemini.translation.base64_text import bytes_of

DATA = b"\xfb\xff\xfe\x01"  # a plus, a slash and padding in base64
FORMS = ["+//+AQ==", "+//+AQ", "-__-AQ==", "-__-AQ"]
NO_BYTES = [
    "+__+AQ==",
    "-//-AQ",
    "AQ===",
    "AQ=",
    "A",
    "AR==",
    "AB",
    "A Q",
    "A\nQ==",
    "é",
    "AQ==AQ==",
    "!",
]


@pytest.mark.parametrize("text", FORMS)
def test_all_forms_are_the_same_bytes(text: str) -> None:
    """Standard and URL-safe, with padding and without."""
    assert DATA == bytes_of(text)


@pytest.mark.parametrize("text", NO_BYTES)
def test_what_no_bytes_are_written_as(text: str) -> None:
    """Alphabets mixed, wrong padding, bits that no byte holds, blanks: no base64."""
    assert bytes_of(text) is None


@given(st.binary(max_size=64), st.booleans(), st.booleans())
def test_whatever_is_written_is_read(data: bytes, safe: bool, padded: bool) -> None:
    """Every sequence of bytes, in every form."""
    text = (base64.urlsafe_b64encode if safe else base64.b64encode)(data).decode()
    assert data == bytes_of(text if padded else text.rstrip("="))


def answer(part: dict[str, Any], **candidate: Any) -> bytes:
    """Return the body of an answer with one part."""
    turn = {"parts": [part], "role": "model"}
    found = {"candidates": [{"content": turn, "finishReason": "STOP", **candidate}]}
    return json.dumps(found).encode()


def both(body: bytes) -> list[Any]:
    """Return the delta of a stream and the candidate of a whole answer."""
    stream = AnswerStream("models/m", Failures(), merge=False)
    events = stream.feed([body])
    assert stream.failure is None
    return [events[1].delta, unary_answer.response(body, "models/m", Failures()).candidates[0]]


def part_of(found: Any) -> Any:
    return (found.parts if isinstance(found, pb.Delta) else found.content.parts)[0]


@pytest.mark.parametrize("text", FORMS)
def test_signatures_media_and_tokens_of_answers(text: str) -> None:
    """All that is bytes in an answer is read from each form, on either way."""
    for more in ({}, {"new": 1}):  # with a new field the event is read as plain JSON
        signed = {"text": "a", "thoughtSignature": text, **more}
        for found in both(answer(signed, continuationToken=text)):
            assert (DATA, DATA) == (part_of(found).thought_signature, found.continuation_token)
        media = {"inlineData": {"mimeType": "a/b", "data": text}, **more}
        for found in both(answer(media)):
            assert DATA == part_of(found).inline_data.data


@pytest.mark.parametrize("text", ["+__+AQ==", "AR==", "no base64"])
def test_what_is_no_base64_is_kept_as_text(text: str) -> None:
    """A text whose bytes could not be written as that text again goes where nothing is lost."""
    for found in both(answer({"text": "a", "thoughtSignature": text}, continuationToken=text)):
        assert {"thoughtSignature": text} == json.loads(part_of(found).extra_json)
        assert {"continuationToken": text} == json.loads(found.extra_json)
        assert (b"", b"") == (part_of(found).thought_signature, found.continuation_token)


def test_bytes_are_sent_in_the_standard_form() -> None:
    """Signatures, media and tokens of a request, padded."""
    request = pb.ExecuteRequest(model="models/m", continuation_token=DATA)
    request.contents.add().parts.add(text="a", thought_signature=DATA)
    request.contents[0].parts.add(inline_data={"mime_type": "a/b", "data": DATA})
    found = json.loads(generate.generate(request))
    signed, media = found["contents"][0]["parts"]
    assert [FORMS[0]] * 3 == [
        found["continuationToken"],
        signed["thoughtSignature"],
        media["inlineData"]["data"],
    ]


def test_a_text_that_was_kept_goes_back_as_it_came() -> None:
    """A signature that could not be read reaches Gemini unchanged."""
    (_, candidate) = both(answer({"text": "a", "thoughtSignature": "+__+AQ=="}))
    request = pb.ExecuteRequest(model="models/m", contents=[candidate.content])
    (turn,) = json.loads(generate.generate(request))["contents"]
    assert [{"text": "a", "thoughtSignature": "+__+AQ=="}] == turn["parts"]
