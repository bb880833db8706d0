"""Batches of texts as Gemini takes them, and their vectors as it gives them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.errors import MalformedAnswer
from gemini_backend.upstream.gemini import reading, writing
from gemini_backend.upstream.gemini.decode import json_object

if TYPE_CHECKING:
    from gemini_backend.policies.sharing.gathering import EmbedBatch
    from gemini_backend.upstream.gemini.failures import Failures


class _Vector(msgspec.Struct):
    values: list[float]


class _Answer(msgspec.Struct, rename="camel"):
    embeddings: list[_Vector] | None = None
    usage_metadata: dict[str, Any] | None = None
    error: dict[str, Any] | None = None


_READ = msgspec.json.Decoder(_Answer)


def body(batch: EmbedBatch) -> bytes:
    """Return the body of batchEmbedContents.

    Raises:
        InvalidRequest: a field cannot be written as JSON.
    """
    return msgspec.json.encode({"requests": [_one(batch.model, one) for one in batch.requests]})


def response(data: bytes, batch: EmbedBatch, failures: Failures) -> pb.EmbedResponse:
    """Read the vectors, one for each content of the batch.

    Raises:
        ServiceError: it is a failure, or cannot be read.
    """
    try:
        answer = _READ.decode(data)
    except (msgspec.DecodeError, RecursionError):
        json_object(data)  # says what is wrong with it, if it is no JSON
        raise MalformedAnswer("the model API sent vectors that cannot be read; try again") from None
    if answer.error is not None:
        raise failures.from_stream({"error": answer.error}, batch.model)
    vectors = answer.embeddings or []
    if len(vectors) != len(batch.requests):
        raise MalformedAnswer(
            f"the model API sent {len(vectors)} vectors for {len(batch.requests)} contents; try "
            "again"
        )
    made = pb.EmbedResponse(
        embeddings=[pb.Embedding(values=vector.values) for vector in vectors], model=batch.model
    )
    if answer.usage_metadata is not None:
        fields = reading.fields(made.usage.DESCRIPTOR, answer.usage_metadata)
        made.usage.CopyFrom(type(made.usage)(**fields))
    return made


def _one(model: str, request: pb.EmbedRequest) -> dict[str, Any]:
    found: dict[str, Any] = {
        "model": model,
        "content": writing.json_object(request.contents[0], "contents"),
    }
    if request.task_type:
        found["taskType"] = request.task_type
    if request.title:
        found["title"] = request.title
    if request.output_dimensionality:
        found["outputDimensionality"] = request.output_dimensionality
    return found
