"""Row 10: grounding, citations and safety ratings were lost in streams."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import execute_service_pb2_grpc as rpc
from tests.support.layers.inproc import collect
from tests.support.messages import gemini_json
from tests.support.servers.conversations import answering
from tests.support.servers.process import serving, upstream_at

RATED = {"category": "HARM_CATEGORY_HARASSMENT", "probability": "LOW"}
NOVEL = {"category": "HARM_CATEGORY_YET_TO_COME", "probability": "QUITE", "blocked": True}
# What comes with each event of the stream, beside its text.
WITH: tuple[dict[str, Any], ...] = (
    {"safetyRatings": [RATED]},
    {
        "citationMetadata": {
            "citationSources": [{"startIndex": 1, "endIndex": 4, "uri": "https://a"}]
        }
    },
    {
        "groundingMetadata": {
            "webSearchQueries": ["rivers", "seas"],
            "groundingChunks": [{"web": {"uri": "https://b", "title": "B"}}],
            "groundingSupports": [
                {
                    "segment": {"startIndex": 2, "endIndex": 6, "text": "vers"},
                    "groundingChunkIndices": [0],
                    "confidenceScores": [0.5],
                }
            ],
            "searchEntryPoint": {"renderedContent": "<b>"},
        }
    },
    {},
    {"safetyRatings": [RATED, NOVEL], "finishReason": "STOP"},
)
EVENTS: list[dict[str, Any]] = [
    {
        "candidates": [
            {"content": {"parts": [{"text": f"t{place} "}], "role": "model"}, "index": 0, **more}
        ],
        "modelVersion": "gemini-3.8-flash",
        "responseId": "r",
    }
    for place, more in enumerate(WITH)
]


@pytest.mark.parametrize("merges", [False, True])
async def test_pain_10_each_comes_with_the_chunk_it_came_in(merges: bool) -> None:
    """Typed, with the text that it belongs to; nothing is lost where chunks are merged either."""
    setting = {"GEMINI_BACKEND_EXECUTION__MERGE_DELTAS": str(merges).lower()}
    async with (
        answering() as api,
        serving(upstream_at(api.url, **setting)) as server,
        grpc.aio.insecure_channel(server.grpc) as channel,
    ):
        stub: Any = rpc.ExecuteServiceStub(channel)
        api.streams.append(EVENTS)
        events = await collect(stub.Execute(pb.ExecuteRequest(prompt="x")))
    deltas = [event.delta for event in events if event.HasField("delta")]
    assert "t0 t1 t2 t3 t4 " == "".join(part.text for one in deltas for part in one.parts)
    if not merges:
        assert EVENTS == gemini_json.of_stream(events)
    before = {"safety_ratings": "t0 ", "citation_metadata": "t1 ", "grounding_metadata": "t2 "}
    for field, text in before.items():
        (first, *_) = [one for one in deltas if one.ListFields() and said(one, field)]
        assert text in "".join(part.text for part in first.parts), field
    (grounded,) = [one.grounding_metadata for one in deltas if one.HasField("grounding_metadata")]
    assert ["rivers", "seas"] == list(grounded.web_search_queries)
    assert "https://b" == grounded.grounding_chunks[0].web.uri
    assert 6 == grounded.grounding_supports[0].segment.end_index
    ratings = [rating for one in deltas for rating in one.safety_ratings]
    assert content.HARM_CATEGORY_HARASSMENT == ratings[0].category
    novel = ratings[-1]
    assert (0, "HARM_CATEGORY_YET_TO_COME", "QUITE", True) == (
        novel.category,
        novel.category_raw,
        novel.probability_raw,
        novel.blocked,
    )


def said(delta: Any, field: str) -> bool:
    """Say whether a delta has something of this kind."""
    return field in {one.name for one, _ in delta.ListFields()}
