"""Recorded traffic through the real server: what the gRPC client gets is all that Gemini said."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import pytest_asyncio
from aiohttp import web

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import execute_service_pb2_grpc as rpc
from gemini.backend.v1.error_details_pb2 import ExecutionFailure, UpstreamFailure
from tests.support.messages import gemini_json
from tests.support.messages.failures import Failure
from tests.support.messages.recorded_costs import bill
from tests.support.messages.recordings import Recording, parameters
from tests.support.servers.http_api import served
from tests.support.servers.process import AS_IT_COMES, serving, upstream_at

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gemini.backend.v1.content_pb2 import Cost

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass
class Replay:
    """A model API that answers with one recording, whatever it is asked."""

    recording: Recording | None = None
    asked: list[tuple[str, Any]] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer with the recorded status, type and bytes."""
        if self.recording is None or request.method != "POST":
            return web.json_response({"models": []})
        self.asked.append((request.path, await request.json()))
        return web.Response(
            body=self.recording.body,
            status=self.recording.status,
            headers={"Content-Type": self.recording.content_type},
        )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def replay() -> AsyncIterator[tuple[Replay, str]]:
    """Run the replaying model API; yield it and its address."""
    made = Replay()
    async with served(made.answer) as url:
        yield made, url


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["apart", "merged"])
async def stub(
    request: pytest.FixtureRequest, replay: tuple[Replay, str]
) -> AsyncIterator[tuple[Any, bool]]:
    """Run the server; yield its stub and whether it merges deltas."""
    merges = request.param == "merged"
    setting = {"GEMINI_BACKEND_EXECUTION__MERGE_DELTAS": str(merges).lower()}
    async with serving(upstream_at(replay[1], **setting, **AS_IT_COMES)) as process:
        options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        async with grpc.aio.insecure_channel(process.grpc, options) as channel:
            yield rpc.ExecuteServiceStub(channel), merges


def rebuilt(error: grpc.RpcError) -> dict[str, Any]:
    """Return Gemini's body out of a status."""
    failure = Failure.of(error)
    upstream = failure.detail(UpstreamFailure)
    if upstream.http_status != 200:
        return gemini_json.of_upstream_failure(upstream)
    return gemini_json.of_unusable(
        failure.detail(ExecutionFailure), gemini_json.plain(upstream.extra)
    )


def asked_as_recorded(replay: Replay, recording: Recording, written: dict[str, Any]) -> None:
    """Check what the server sent to the model API."""
    expected = gemini_json.normal(pb.ExecuteRequest.DESCRIPTOR, written)
    assert (f"/v1beta/{recording.model}:{recording.verb}", expected) == replay.asked[-1]


def paid_as_recorded(answers: list[dict[str, Any]], cost: Cost) -> None:
    """Check the cost against a bill that is worked out apart, by the model that served."""
    version = answers[-1]["modelVersion"]
    queries = {
        query
        for answer in answers
        for candidate in answer.get("candidates", [])
        for query in candidate.get("groundingMetadata", {}).get("webSearchQueries", [])
    }
    expected = bill(version, answers[-1]["usageMetadata"], len(queries))
    assert expected == {name: getattr(cost, name) for name in expected}
    assert sum(expected.values()) == cost.cost_nano_usd
    assert version.removeprefix("models/") == cost.priced_model.removeprefix("models/")


@parameters("generateContent")
async def test_whole_answers(
    recording: Recording, replay: tuple[Replay, str], stub: tuple[Any, bool]
) -> None:
    """Process gives, or fails with, every field of the recorded body."""
    replay[0].recording = recording
    request = gemini_json.execute_request(recording.request, recording.model)
    same = pb.ProcessRequest.FromString(request.SerializeToString())
    try:
        answer = await stub[0].Process(same)
        found = gemini_json.of_process(answer)
        paid_as_recorded([recording.answer], answer.cost)
    except grpc.RpcError as error:
        found = rebuilt(error)
    assert recording.answer == found
    asked_as_recorded(replay[0], recording, recording.request)


@parameters("streamGenerateContent")
async def test_streams(
    recording: Recording, replay: tuple[Replay, str], stub: tuple[Any, bool]
) -> None:
    """Execute gives every field of every recorded event; merged, all of the text."""
    replay[0].recording = recording
    request = gemini_json.execute_request(recording.request, recording.model)
    events = [event async for event in stub[0].Execute(request)]
    paid_as_recorded(recording.events, events[-1].completed.cost)
    if stub[1]:
        pieces = [
            part.get("text", "")
            for event in recording.events
            for part in event["candidates"][0]["content"]["parts"]
        ]
        got = [part.text for event in events for part in event.delta.parts]
        assert "".join(pieces) == "".join(got)
    else:
        assert recording.events == gemini_json.of_stream(events)
    asked_as_recorded(replay[0], recording, recording.request)


@parameters("countTokens")
async def test_counts(
    recording: Recording, replay: tuple[Replay, str], stub: tuple[Any, bool]
) -> None:
    """CountTokens gives, or fails with, every field of the recorded body."""
    replay[0].recording = recording
    request = gemini_json.count_request(recording.request, recording.model)
    try:
        counted = await stub[0].CountTokens(request)
        found = gemini_json.of_message(counted, "method", "model")
    except grpc.RpcError as error:
        found = rebuilt(error)
    assert json.loads(recording.body) == found
