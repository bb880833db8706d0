"""Recorded traffic, translated and back: nothing is lost, nothing is added."""

from __future__ import annotations

import json
from array import array
from typing import Any

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.errors import (
    AnswerBlocked,
    PromptBlocked,
    RefusedByModelApi,
    UnknownModel,
)
from gemini_backend.upstream.base import EmbedBatch
from gemini_backend.upstream.gemini.answer import unary_answer
from gemini_backend.upstream.gemini.answer.stream_answer import AnswerStream
from gemini_backend.upstream.gemini.body.sse import EventReader
from gemini_backend.upstream.gemini.failure.classification import Failures
from gemini_backend.upstream.gemini.options import GeminiOptions
from gemini_backend.upstream.gemini.requests import embeddings, generate
from tests.support.messages import gemini_json
from tests.support.messages.recordings import Recording, parameters


def _stream(recording: Recording, *, merge: bool) -> list[pb.ExecuteResponse]:
    reader = EventReader(GeminiOptions().max_event_bytes)
    answer = AnswerStream(recording.model, Failures(), merge=merge)
    found = answer.feed(reader.feed(recording.body))
    found += answer.feed(reader.finish())
    assert answer.failure is None
    return found + answer.finish()


def _rebuilt(recording: Recording) -> dict[str, Any]:
    try:
        if recording.status != 200:
            raise Failures().from_reply(
                recording.status, recording.body, recording.content_type, recording.model
            )
        response = unary_answer.response(recording.body, recording.model, Failures())
    except (AnswerBlocked, PromptBlocked) as error:
        return gemini_json.of_failure(error)
    except (RefusedByModelApi, UnknownModel) as error:
        return gemini_json.of_refusal(error)
    return gemini_json.of_process(pb.ProcessResponse.FromString(response.SerializeToString()))


def _text(events: list[pb.ExecuteResponse], *, thought: bool) -> str:
    return "".join(
        part.text for event in events for part in event.delta.parts if part.thought == thought
    )


@parameters("generateContent")
def test_whole_answers_come_back_field_for_field(recording: Recording) -> None:
    """Gemini's JSON can be rebuilt from what became of it, be that an answer or a failure."""
    assert recording.answer == _rebuilt(recording)


@parameters("streamGenerateContent")
def test_streams_come_back_event_for_event(recording: Recording) -> None:
    """Without merging, every event of Gemini's can be rebuilt from the deltas."""
    events = _stream(recording, merge=False)
    assert recording.events == gemini_json.of_stream(events)


@parameters("streamGenerateContent")
def test_merging_changes_no_text(recording: Recording) -> None:
    """With merging there are fewer deltas, and the same text, thoughts, signatures and usage."""
    apart, merged = _stream(recording, merge=False), _stream(recording, merge=True)
    assert len(merged) <= len(apart)
    for thought in (False, True):
        assert _text(apart, thought=thought) == _text(merged, thought=thought)
    signatures = [
        [
            p.thought_signature
            for e in found
            for p in e.delta.parts
            if p.HasField("thought_signature")
        ]
        for found in (apart, merged)
    ]
    assert signatures[0] == signatures[1]
    assert apart[-1] == merged[-1]


@parameters("countTokens")
def test_counts_come_back_field_for_field(recording: Recording) -> None:
    """A count, or the error in its place, can be rebuilt."""
    if recording.status == 200:
        counted = unary_answer.token_count(recording.body, recording.model, Failures())
        assert recording.answer == gemini_json.of_message(counted, "method", "model")
        return
    error = Failures().from_reply(
        recording.status, recording.body, recording.content_type, recording.model
    )
    assert recording.answer == gemini_json.of_refusal(error)


@parameters("generateContent", "streamGenerateContent")
def test_requests_come_back_field_for_field(recording: Recording) -> None:
    """A request put into the contract and written again is the request that was recorded."""
    request = gemini_json.execute_request(recording.request, recording.model)
    expected = gemini_json.normal(pb.ExecuteRequest.DESCRIPTOR, recording.request)
    assert expected == json.loads(generate.generate(request))


@parameters("countTokens")
def test_count_requests_come_back_field_for_field(recording: Recording) -> None:
    """What is to be counted is written as it was, in a whole request where it is more than text."""
    request = gemini_json.count_request(recording.request, recording.model)
    expected = gemini_json.normal(pb.ExecuteRequest.DESCRIPTOR, recording.request)
    written = json.loads(generate.count_tokens(request))
    if expected.keys() - {"contents"}:
        expected = {"generateContentRequest": {"model": recording.model, **expected}}
    assert expected == written


@parameters("batchEmbedContents")
def test_embeddings_come_back_value_for_value(recording: Recording) -> None:
    """Requests are written as they were recorded, vectors read to the last bit of a float."""
    asked = [
        pb.EmbedRequest(
            contents=[{"parts": one["content"]["parts"]}],
            task_type=f"EMBED_TASK_TYPE_{one.get('taskType', 'UNSPECIFIED')}",
            title=one.get("title", ""),
            output_dimensionality=one.get("outputDimensionality", 0),
        )
        for one in recording.request["requests"]
    ]
    batch = EmbedBatch(f"models/{recording.model.removeprefix('models/')}", asked)
    assert recording.request == json.loads(embeddings.body(batch))
    if recording.status == 200:
        response = embeddings.response(recording.body, batch, Failures())
        single = [array("f", one["values"]) for one in recording.answer["embeddings"]]
        assert single == [array("f", one.values) for one in response.embeddings]
