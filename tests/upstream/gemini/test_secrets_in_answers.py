"""A key that an upstream sends back is masked in every field but the answer itself.

Covers: upstream/gemini/translation/metadata.py
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from gemini.backend.v1 import content_pb2 as pb
from gemini.backend.v1 import execute_service_pb2 as execute
from gemini_backend import masking
from gemini_backend.errors import ServiceError, masked
from gemini_backend.upstream.base import EmbedBatch
from gemini_backend.upstream.gemini.answer import service_tier, unary_answer
from gemini_backend.upstream.gemini.answer.stream_answer import AnswerStream
from gemini_backend.upstream.gemini.failure import Failures
from gemini_backend.upstream.gemini.requests import embeddings
from gemini_backend.upstream.gemini.requests.listing import Listing
from gemini_backend.upstream.gemini.translation.metadata import is_answer
from tests.support.messages.planted_json import answer, planted

if TYPE_CHECKING:
    from google.protobuf.message import Message

KEY = "AIzaSyC-planted9Key0x7Of1This4Test2Only6"
MODEL = "models/m"
FORMS = (
    KEY,
    KEY.lower(),
    KEY[:12],
    KEY[-12:],
    base64.b64encode(KEY.encode()).decode()[:-2],
    KEY.encode().hex(),
)


@pytest.fixture(autouse=True)
def _known() -> None:
    masking.remember([KEY])


def typed_answer(text: str) -> dict[str, Any]:
    """Return an answer of the fields that nearly every answer has, with the text in each."""
    counts = [{"modality": text, "tokenCount": 1}]
    usage = {"promptTokensDetails": counts, "serviceTier": text, "trafficType": text}
    content = {"role": text, "parts": [{"text": "hi"}]}
    token = base64.b64encode(text.encode()).decode()
    return {
        "candidates": [{"content": content, "finishReason": text, "continuationToken": token}],
        "usageMetadata": usage,
        "modelVersion": text,
        "responseId": text,
        "createTime": text,
    }


def assert_masked(*told: Message | str) -> None:
    """Assert that nothing of the key is in what is told, and that something was there."""
    for one in told:
        text = one if isinstance(one, str) else f"{one!r} {one.SerializeToString()!r}"
        assert [] == [form for form in FORMS if form.lower() in text.lower()]
        assert "[key]" in text


def streamed(*events: Any) -> list[execute.ExecuteResponse]:
    """Return what a caller gets of a stream of these events."""
    stream = AnswerStream(MODEL, Failures(), merge=True)
    found = [one for event in events for one in stream.feed([json.dumps(event).encode()])]
    if stream.failure is not None:
        raise stream.failure
    return [*found, *stream.finish()]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("made", [answer, typed_answer])
def test_a_whole_answer(form: str, made: Any) -> None:
    """No field of a whole answer has the key."""
    assert_masked(unary_answer.response(json.dumps(made(form)).encode(), MODEL, Failures()))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("made", [answer, typed_answer])
def test_a_streamed_answer(form: str, made: Any) -> None:
    """No event has the key, neither the first one nor those after it."""
    other = {**made(form), "modelVersion": f"other {form}"}
    last = {"candidates": [{"content": {"parts": [{"text": "!"}]}, "finishReason": "STOP"}]}
    for event in streamed(made(form), other, last):
        if event.delta.SerializeToString() or event.HasField("started"):
            text = repr(event)
            assert [] == [one for one in FORMS if one.lower() in text.lower()]


@pytest.mark.parametrize("form", FORMS)
def test_escapes_of_json_hide_nothing(form: str) -> None:
    r"""A key that is written with `\\u` escapes is masked as well, as message and as text."""
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in form)
    text = json.dumps(answer("PLACE")).replace("PLACE", escaped)
    assert_masked(unary_answer.response(text.encode(), MODEL, Failures()))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("known", [True, False])
def test_a_blocked_prompt(form: str, known: bool) -> None:
    """The failure that a refused prompt is has no key, nor has what came with it."""
    feedback = planted(pb.PromptFeedback.DESCRIPTOR, form)
    feedback["blockReason"] = "SAFETY" if known else form
    body = {"promptFeedback": feedback, "modelVersion": form, form: form}
    with pytest.raises(ServiceError) as caught:
        unary_answer.response(json.dumps(body).encode(), MODEL, Failures())
    error = caught.value
    assert_masked(f"{error} {error.upstream!r} {error.failure!r}")


@pytest.mark.parametrize("form", FORMS)
def test_an_answer_that_ends_without_content(form: str) -> None:
    """A finish reason and a finish message in a failure have no key."""
    body = {"candidates": [{"finishReason": form, "finishMessage": form}], "modelVersion": form}
    with pytest.raises(ServiceError) as caught:
        streamed(body)
    error = caught.value
    assert_masked(f"{error} {error.upstream!r} {error.failure!r}")


@pytest.mark.parametrize("form", FORMS)
def test_an_error_of_any_form(form: str) -> None:
    """Message, status, details, and the words of a body that is none of Gemini's."""
    details = [{"@type": f"type.googleapis.com/google.rpc.{kind}", form: form} for kind in "AB"]
    found = {"error": {"code": 400, "message": form, "status": form, "details": details, form: 1}}
    page = f"<html><title>{form}</title></html>".encode()
    for body, kind in ((json.dumps(found).encode(), "application/json"), (page, f"x/{form}")):
        error = masked(Failures().from_reply(400, body, kind, MODEL))
        assert_masked(f"{error} {error.args} {error.metadata} {error.upstream!r} [key]")


@pytest.mark.parametrize("form", FORMS)
def test_listings_counts_and_vectors(form: str) -> None:
    """Names and descriptions of models, counts of tokens, what comes with vectors."""
    listing = Listing()
    one = {"name": f"models/{form}", "description": form, "supportedGenerationMethods": [form]}
    listing.take(json.dumps({"models": [{**one, form: {form: form}}]}).encode())
    count = {"totalTokens": 1, **planted(execute.CountTokensResponse.DESCRIPTOR, form, 2)}
    counted = unary_answer.token_count(json.dumps(count).encode(), MODEL, Failures())
    batch = EmbedBatch(MODEL, (execute.EmbedRequest(contents=[{"parts": [{"text": "a"}]}]),))
    vector = {**planted(execute.Embedding.DESCRIPTOR, form), "values": [1.0]}
    body = {**planted(execute.EmbedResponse.DESCRIPTOR, form), "embeddings": [vector]}
    vectors = embeddings.response(json.dumps(body).encode(), batch, Failures())
    assert_masked(repr(listing.models), counted, vectors)


def test_a_header_of_an_answer() -> None:
    """The service tier of the header is a word like any other."""
    started = execute.Started()
    service_tier.note_tier(started, f" {KEY} ")
    assert "[key]" == started.served_service_tier_raw


def test_the_answer_itself_is_passed_on() -> None:
    """Text, calls and code are the model's: not a letter is changed."""
    parts = [
        {"text": KEY},
        {"functionCall": {"name": KEY, "args": {KEY: KEY}}},
        {"executableCode": {"language": "PYTHON", "code": KEY}},
        {"inlineData": {"mimeType": KEY, "data": base64.b64encode(KEY.encode()).decode()}},
        {"text": "x", KEY: KEY},
    ]
    body = {"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}], "x": 1}
    response = unary_answer.response(json.dumps(body).encode(), MODEL, Failures())
    text, call, code, blob, extra = response.candidates[0].content.parts
    assert (KEY, KEY, KEY) == (text.text, call.function_call.name, code.executable_code.code)
    assert {KEY: KEY} == json.loads(call.function_call.args_json)
    assert (KEY, KEY.encode()) == (blob.inline_data.mime_type, blob.inline_data.data)
    assert {KEY: KEY} == json.loads(extra.extra_json)
    assert "[key]" not in repr(response)


def test_what_counts_as_the_answer() -> None:
    """Parts with all that is in them, and tokens with probabilities; nothing else."""
    answers = (pb.Part, pb.FunctionCall, pb.Blob, pb.LogprobsCandidate)
    others = (pb.Content, pb.Candidate, pb.PromptFeedback, pb.Usage, pb.GroundingMetadata)
    assert all(is_answer(message.DESCRIPTOR) for message in answers)
    assert not any(is_answer(message.DESCRIPTOR) for message in others)
