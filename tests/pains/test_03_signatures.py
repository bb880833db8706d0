"""Row 3: thought signatures were dropped, and the next turn with tools got a 400."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1.content_pb2 import Content, FunctionDeclaration, FunctionResponse, Part, Tool
from tests.support.servers.conversations import Desk, create, said, state_in
from tests.support.servers.process import serving, simulating, upstream_at

if TYPE_CHECKING:
    from pathlib import Path

MODEL = "gemini-3.5-flash"
SCHEMA = json.dumps({"type": "object"})
TOOLS = [
    Tool(
        function_declarations=[
            FunctionDeclaration(name="get_weather", parameters_json_schema_text=SCHEMA)
        ]
    )
]
CITIES = ("Paris", "Rome", "Oslo", "Lima", "Cairo")


def results_of(calls: list[Part]) -> Content:
    """Return what the functions that were called give."""
    parts = []
    for part in calls:
        response = FunctionResponse(name=part.function_call.name)
        if part.function_call.HasField("id"):
            response.id = part.function_call.id
        response.response.update({"sky": "clear"})
        parts.append(Part(function_response=response))
    return Content(role="user", parts=parts)


def parts_of(answers: list[Any]) -> list[Part]:
    """Return the parts of an answer, streamed or whole."""
    if answers[0].DESCRIPTOR.name == "ProcessResponse":
        return list(answers[0].candidates[0].content.parts)
    return [part for event in answers for part in event.delta.parts]


@pytest.mark.parametrize("whole", [False, True])
async def test_pain_03_signatures_round_trip_through_the_client(whole: bool) -> None:
    """Five turns with tools, each part sent back as it came: the simulator refuses a lost one."""
    async with (
        simulating() as simulator,
        serving(upstream_at(simulator.http)) as server,
        grpc.aio.insecure_channel(server.grpc) as channel,
    ):
        desk = Desk(channel, server, simulator)
        contents: list[Content] = []
        for city in CITIES:
            contents.append(Content(role="user", parts=[Part(text=f"Use get_weather for {city}")]))
            calls: list[Part] = []
            for _ in range(2):
                asked = pb.ExecuteRequest(contents=contents, model=MODEL, tools=TOOLS)
                parts = parts_of(await said(desk.execute, asked, whole=whole))
                contents.append(Content(role="model", parts=parts))
                if not calls:
                    calls = [part for part in parts if part.HasField("function_call")]
                    assert [True] == [bool(part.thought_signature) for part in calls]
                    contents.append(results_of(calls))
        assert 20 == len(contents)


async def test_pain_03_sessions_keep_them_even_over_a_kill(tmp_path: Path) -> None:
    """Five turns of a session, the server killed before each result is sent: none is refused."""
    async with simulating() as simulator:
        env = state_in(tmp_path, **upstream_at(simulator.http))
        name, calls = "", []
        for city in CITIES:
            for step in ("question", "results"):
                async with (
                    serving(env) as server,
                    grpc.aio.insecure_channel(server.grpc) as channel,
                ):
                    desk = Desk(channel, server, simulator)
                    name = name or await create(desk.sessions, model=MODEL)
                    asked = pb.ExecuteRequest(session=name, tools=TOOLS)
                    if step == "question":
                        asked.prompt = f"Use get_weather for {city}"
                    else:
                        asked.contents.append(results_of(calls))
                    parts = parts_of(await said(desk.execute, asked, whole=step == "results"))
                    calls = [part for part in parts if part.HasField("function_call")]
                    assert bool(calls) == (step == "question")
                    assert any(part.thought_signature for part in parts)
                    turns = await desk.turns(name)
                    await server.stop(signal.SIGKILL)
        assert 10 == len(turns)
        assert all(any(part.thought_signature for part in turn.output.parts) for turn in turns)
