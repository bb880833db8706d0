"""Vectors as the model API gives them, and all that it says beside them."""

from __future__ import annotations

import json

import pytest

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.errors import MalformedAnswer, UpstreamUnavailable
from gemini_backend.upstream.base import EmbedBatch
from gemini_backend.upstream.gemini.failure.classification import Failures
from gemini_backend.upstream.gemini.requests import embeddings


def read(body: str, count: int = 1) -> pb.EmbedResponse:
    """Read the answer to a batch of so many contents."""
    one = pb.EmbedRequest(contents=[content.Content(parts=[content.Part(text="x")])])
    return embeddings.response(body.encode(), EmbedBatch("models/e", [one] * count), Failures())


def test_all_that_is_said_is_kept() -> None:
    """Statistics of each vector, counts, and what has no name, to the letter."""
    body = (
        '{"embeddings":[{"values":[0.5,1],"statistics":{"truncated":true,"tokenCount":3,'
        '"tokensDetails":[{"modality":"TEXT","tokenCount":3}],"s":1.0},"v":1.0}],'
        '"metadata":{"billableCharacterCount":7},"truncated":false,'
        '"usageMetadata":{"promptTokenCount":3},"new":1.50}'
    )
    found = read(body)
    (vector,) = found.embeddings
    assert [0.5, 1.0] == list(vector.values)
    assert (True, 3.0, content.MODALITY_TEXT, '{"s":1.0}') == (
        vector.statistics.truncated,
        vector.statistics.token_count,
        vector.statistics.tokens_details[0].modality,
        vector.statistics.extra_json,
    )
    assert '{"v":1.0}' == vector.extra_json
    assert (7, True, False, 3, '{"new":1.50}') == (
        found.billable_character_count,
        found.HasField("truncated"),
        found.truncated,
        found.usage.prompt_token_count,
        found.extra_json,
    )


def test_other_metadata_stays_whole() -> None:
    """An object that holds more than the count of characters is not taken apart."""
    metadata = {"billableCharacterCount": 7, "more": 1}
    found = read(json.dumps({"embeddings": [{"values": [1]}], "metadata": metadata}))
    assert {"metadata": metadata} == json.loads(found.extra_json)
    assert not found.HasField("billable_character_count")


@pytest.mark.parametrize(
    "body",
    [
        "[]",
        "{}",
        '{"embeddings":[]}',
        '{"embeddings":[{"values":[1]},{"values":[2]}]}',
        '{"embeddings":[{"values":["a"]}]}',
        '{"embeddings":[7]}',
    ],
)
def test_what_cannot_be_read_is_no_answer(body: str) -> None:
    """Another number of vectors than was asked for, or no vectors."""
    with pytest.raises(MalformedAnswer):
        read(body)


def test_an_error_is_an_error() -> None:
    """Within a body of 200 too."""
    with pytest.raises(UpstreamUnavailable):
        read('{"error":{"code":503,"status":"UNAVAILABLE","message":"busy"}}')
