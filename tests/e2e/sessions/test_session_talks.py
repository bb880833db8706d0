"""What the model said goes back to it as it was, through sessions, simulated and recorded."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import pytest_asyncio

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import execute_service_pb2_grpc as execute_rpc
from gemini.backend.v1 import session_service_pb2_grpc as session_rpc
from tests.support.messages import gemini_json
from tests.support.messages.failures import Failure
from tests.support.messages.recordings import Recording, parameters
from tests.support.servers.conversations import Answerer, answering, create, exported, said
from tests.support.servers.process import AS_IT_COMES, serving, simulating, upstream_at

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

pytestmark = pytest.mark.asyncio(loop_scope="module")
ways = pytest.mark.parametrize("whole", [False, True], ids=["stream", "whole"])
MODEL = "gemini-3.5-flash"
TOOLS = [
    content.Tool(
        function_declarations=[
            content.FunctionDeclaration(
                name="get_weather", parameters_json_schema_text='{"type": "object"}'
            )
        ]
    )
]
_names = itertools.count()


class Desk:
    """Stubs of one server, and the model API behind it."""

    def __init__(self, channel: grpc.aio.Channel, answerer: Answerer | None = None) -> None:
        self.execute: Any = execute_rpc.ExecuteServiceStub(channel)
        self.sessions: Any = session_rpc.SessionServiceStub(channel)
        self.answerer = answerer or Answerer()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def simulated() -> AsyncIterator[Desk]:
    """A server in front of the simulator."""
    async with (
        simulating() as simulator,
        serving(upstream_at(simulator.http, **AS_IT_COMES)) as server,
        grpc.aio.insecure_channel(server.grpc) as channel,
    ):
        yield Desk(channel)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def replayed() -> AsyncIterator[Desk]:
    """A server in front of a model API that answers as it is told."""
    async with (
        answering() as answerer,
        serving(upstream_at(answerer.url, **AS_IT_COMES)) as server,
        grpc.aio.insecure_channel(server.grpc) as channel,
    ):
        yield Desk(channel, answerer)


def result_of(calls: Sequence[content.Part]) -> content.Content:
    """Return what the functions that were called give."""
    parts = []
    for part in calls:
        call = part.function_call
        response = content.FunctionResponse(name=call.name)
        if call.HasField("id"):
            response.id = call.id
        response.response.update({"sky": "clear", "degrees": 21})
        parts.append(content.Part(function_response=response))
    return content.Content(role="user", parts=parts)


@ways
async def test_signatures_survive_five_turns_with_tools(simulated: Desk, whole: bool) -> None:
    """Five questions, each with a call and its result, pass where a lost signature is refused."""
    name = await create(simulated.sessions, model=MODEL)
    for city in ("Paris", "Rome", "Oslo", "Lima", "Cairo"):
        asked = pb.ExecuteRequest(prompt=f"Use get_weather for {city}", session=name, tools=TOOLS)
        await said(simulated.execute, asked, whole=whole)
        turn = (await exported(simulated.sessions, name))[-1]
        calls = [part for part in turn.output.parts if part.HasField("function_call")]
        assert [True] == [bool(part.thought_signature) for part in calls]
        results = pb.ExecuteRequest(contents=[result_of(calls)], session=name, tools=TOOLS)
        await said(simulated.execute, results, whole=whole)
    turns = await exported(simulated.sessions, name)
    assert [True] * 10 == [
        any(part.thought_signature for part in turn.output.parts) for turn in turns
    ]
    assert list(range(1, 11)) == [turn.index for turn in turns]


async def test_a_lost_signature_would_be_refused(simulated: Desk) -> None:
    """The same conversation without a signature, or with a changed one, gets a 400: it matters."""
    first = pb.ExecuteRequest(prompt="Use get_weather for Paris", model=MODEL, tools=TOOLS)
    (answer,) = await said(simulated.execute, first, whole=True)
    question = content.Content(role="user", parts=[content.Part(text=first.prompt)])
    called = answer.candidates[0].content
    for signature in (b"", called.parts[0].thought_signature[:-1] + b"\x00"):
        called.parts[0].thought_signature = signature
        if not signature:
            called.parts[0].ClearField("thought_signature")
        again = pb.ExecuteRequest(
            contents=[question, called, result_of(called.parts)], model=MODEL, tools=TOOLS
        )
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await said(simulated.execute, again, whole=True)
        assert "CALLER_REFUSED_BY_MODEL_API" == Failure.of(failed.value).reason


def talk(contents: list[dict[str, Any]]) -> Iterator[tuple[list[Any], dict[str, Any] | None]]:
    """Yield what is asked of each turn, and the model's answer; None for the last one."""
    asked: list[Any] = []
    for turn in contents:
        if turn.get("role") == "model" and asked and asked[-1].get("role") != "model":
            yield asked, turn
            asked = []
        else:
            asked.append(turn)
    yield asked, None


def is_talk(recording: Recording) -> bool:
    """Say whether a recording goes on with a conversation that ends with a question.

    A turn of the model's with nothing but thoughts, or nothing at all, would be no answer.
    """
    contents = recording.request.get("contents", [])
    answers = [turn for turn in contents if turn.get("role") == "model"]
    last = bool(contents) and contents[-1].get("role") != "model"
    return (
        last
        and bool(answers)
        and all(any(_says(part) for part in turn["parts"]) for turn in answers)
    )


def _says(part: dict[str, Any]) -> bool:
    return not part.get("thought") and part.get("text") != ""


def as_streamed(turn: dict[str, Any]) -> dict[str, Any]:
    """Return a turn of the model's as a stream tells it: texts in a row are pieces of one."""
    parts: list[dict[str, Any]] = []
    for part in turn["parts"]:
        plain = part.keys() <= {"text", "thought"}
        before = parts[-1] if parts else {}
        if plain and "text" in before and before == {**part, "text": before["text"]}:
            before["text"] += part["text"]
        else:
            parts.append(dict(part))
    return {**turn, "parts": parts}


@ways
@parameters("generateContent", "streamGenerateContent", where=is_talk)
async def test_recorded_conversations_go_through_sessions(
    recording: Recording, replayed: Desk, whole: bool
) -> None:
    """Turn by turn through a session, the last request has what was recorded, part by part."""
    written = gemini_json.normal(pb.ExecuteRequest.DESCRIPTOR, recording.request)
    contents = [
        as_streamed(turn) if not whole and turn.get("role") == "model" else turn
        for turn in written["contents"]
    ]
    name = await create(replayed.sessions, f"r{next(_names)}")
    turns = list(talk(contents))
    for asked, answer in turns:
        last = {"role": "model", "parts": [{"text": "the end"}]}
        given = {"content": answer or last, "finishReason": "STOP"}
        replayed.answerer.candidates = [given]
        request = gemini_json.execute_request({"contents": asked}, recording.model)
        request.session = name
        await said(replayed.execute, request, whole=whole)
    assert contents == replayed.answerer.asked[-1]["contents"]
    kept = await exported(replayed.sessions, name)
    assert [bool(turn.output.parts) for turn in kept] == [True] * len(turns)


GROUNDED = {
    "content": {"role": "model", "parts": [{"text": "Rivers "}, {"text": "run."}]},
    "finishReason": "STOP",
    "safetyRatings": [{"category": "HARM_CATEGORY_HARASSMENT", "probability": "NEGLIGIBLE"}],
    "citationMetadata": {"citationSources": [{"startIndex": 1, "uri": "https://a.example"}]},
    "groundingMetadata": {
        "webSearchQueries": ["rivers"],
        "groundingChunks": [{"web": {"uri": "https://b.example", "title": "B"}}],
        "groundingSupports": [{"segment": {"endIndex": 6}, "groundingChunkIndices": [0]}],
        "novel": {"field": [1]},
    },
    "urlContextMetadata": {
        "urlMetadata": [
            {
                "retrievedUrl": "https://c.example",
                "urlRetrievalStatus": "URL_RETRIEVAL_STATUS_SUCCESS",
            }
        ]
    },
}


@ways
async def test_grounding_citations_and_ratings_survive(replayed: Desk, whole: bool) -> None:
    """They come with the piece that they came in, and stand on the turn of the session."""
    replayed.answerer.candidates = [dict(GROUNDED)]
    name = await create(replayed.sessions, f"g{whole}")
    answers = await said(
        replayed.execute, pb.ExecuteRequest(prompt="rivers?", session=name), whole=whole
    )
    (turn,) = await exported(replayed.sessions, name)
    (kept,) = turn.candidates
    if whole:
        given = answers[0].candidates[0]
    else:
        given = next(one.delta for one in answers if one.delta.HasField("grounding_metadata"))
    for place in ("grounding_metadata", "citation_metadata", "url_context_metadata"):
        assert getattr(given, place).ByteSize() > 0
        assert getattr(given, place) == getattr(kept, place)
    assert list(given.safety_ratings) == list(kept.safety_ratings)
    assert [1.0] == list(kept.grounding_metadata.extra.fields["novel"].struct_value["field"])
    assert "Rivers run." == "".join(part.text for part in turn.output.parts)
