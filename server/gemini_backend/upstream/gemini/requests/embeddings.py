"""Batches of texts as Gemini takes them, and their vectors as it gives them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from gemini.backend.v1 import content_pb2
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.errors import MalformedAnswer
from gemini_backend.upstream.gemini.answer import usage
from gemini_backend.upstream.gemini.body import decode, object_of
from gemini_backend.upstream.gemini.translation import json_to_proto, json_values, proto_to_json

if TYPE_CHECKING:
    from gemini_backend.upstream.base import EmbedBatch
    from gemini_backend.upstream.gemini.failure import Failures

# what this service has for itself, or writes here; every other field of a request is Gemini's
_OURS = frozenset({"contents", "model", "priority", "labels"})
_VALUES = msgspec.json.Decoder(list[float])


def body(batch: EmbedBatch) -> bytes:
    """Return the body of batchEmbedContents.

    Raises:
        InvalidRequest: a field cannot be written as JSON.
    """
    return msgspec.json.encode(frame(batch))


def frame(batch: EmbedBatch) -> dict[str, Any]:
    """Return the JSON of batchEmbedContents.

    Raises:
        InvalidRequest: a field cannot be written as JSON.
    """
    requests = json_values.plain_list(
        batch.requests, "requests", lambda one, _path: _one(batch.model, one)
    )
    return {"requests": requests}


def response(data: bytes, batch: EmbedBatch, failures: Failures) -> pb.EmbedResponse:
    """Read the vectors, one for each content of the batch.

    Raises:
        ServiceError: it is a failure, or cannot be read.
    """
    answer = object_of(data)
    if decode.has_error(answer):
        raise failures.from_stream(decode.plain(answer), batch.model)
    vectors = json_to_proto.list_of(answer.pop("embeddings", msgspec.Raw(b"[]"))) or []
    if len(vectors) != len(batch.requests):
        raise MalformedAnswer(
            f"the model API sent {len(vectors)} vectors for {len(batch.requests)} contents; retry"
        )
    made = pb.EmbedResponse(embeddings=[_vector(text) for text in vectors], model=batch.model)
    counts = answer.pop("usageMetadata", None)
    if counts is not None and json_to_proto.is_object(counts):
        made.usage.CopyFrom(content_pb2.Usage(**usage.counted(usage.fields(counts))))
    _put_metadata(made, answer)
    made.MergeFrom(pb.EmbedResponse(**json_to_proto.fields(pb.EmbedResponse.DESCRIPTOR, answer)))
    return made


def _vector(text: msgspec.Raw) -> pb.Embedding:
    try:
        found = json_to_proto.object_of(text)
        values = _VALUES.decode(found.pop("values", msgspec.Raw(b"[]")))
    except (msgspec.DecodeError, MalformedAnswer):
        raise MalformedAnswer("the model API sent vectors that cannot be parsed; retry") from None
    more = json_to_proto.fields(pb.Embedding.DESCRIPTOR, found) if found else {}
    return pb.Embedding(values=values, **more)


def _put_metadata(made: pb.EmbedResponse, answer: json_to_proto.Object) -> None:
    """Take the count of characters out of the object that Vertex AI has it in."""
    text = answer.get("metadata")
    if text is None or not json_to_proto.is_object(text):
        return
    found = json_to_proto.fields(pb.EmbedResponse.DESCRIPTOR, text)
    if found.keys() == {"billable_character_count"}:
        made.billable_character_count = found["billable_character_count"]
        del answer["metadata"]


def _one(model: str, request: pb.EmbedRequest) -> dict[str, Any]:
    found: dict[str, Any] = {
        "model": model,
        "content": proto_to_json.json_object(request.contents[0], "contents"),
    }
    if proto_to_json.put_fields(found, request, "", _OURS):
        proto_to_json.merge_extra(found, request, "")
    return found
