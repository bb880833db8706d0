"""Streams that go on after a finish reason, or break off behind one, through the real server."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import pytest_asyncio

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import execute_service_pb2_grpc as rpc
from gemini.backend.v1 import session_service_pb2_grpc as session_rpc
from tests.support.messages.failures import broken_off, rest_of
from tests.support.servers.conversations import create
from tests.support.servers.process import serving, upstream_at
from tests.support.upstreams.raw_upstreams import listening

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.asyncio(loop_scope="module")
COLD = content.GenerationConfig(temperature=0)
PAUSE = 1.3  # longer than any grace that a finish reason was once given
LARGE = 24 << 20
COUNTS = {"promptTokenCount": 3, "candidatesTokenCount": 2, "totalTokenCount": 5}


def event(*parts: Any, **more: Any) -> bytes:
    """Return an event with these parts, texts given as such."""
    made = [{"text": part} if isinstance(part, str) else part for part in parts]
    candidate = {"content": {"role": "model", "parts": made}, "index": 0, **more}
    found = {"candidates": [candidate], "usageMetadata": COUNTS, "modelVersion": "m-1"}
    return b"data: " + json.dumps(found).encode() + b"\r\n\r\n"


CODE = {"executableCode": {"language": "PYTHON", "code": "print(2)"}}
RESULT = {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "2\n"}}
STOP = {"finishReason": "STOP"}
LAST = event("", **STOP)
ROUND = [event("See. "), event(CODE, **STOP), PAUSE, event(RESULT), event("Two."), LAST]
CUT = "cut"
BODIES: dict[str, list[Any]] = {
    "round": ROUND,
    "slow": [1.0, *ROUND],
    "lost end": [event("whole"), LAST, CUT],
    "lost round": [*ROUND[:2], CUT],
    "large": [event("x" * LARGE, **STOP)],
}


@dataclass
class Api:
    """A model API that plays the body which the last text names."""

    asked: list[Any] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer requests until the connection ends."""
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            if head.startswith("get"):
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n" + b'{"models":[]}')
                continue
            request = json.loads(await read_body(reader, head))
            self.asked.append(request)
            name = request["contents"][-1]["parts"][-1]["text"].partition("#")[0]
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                b"Transfer-Encoding: chunked\r\n\r\n"
            )
            for step in BODIES[name]:
                if isinstance(step, float):
                    await asyncio.sleep(step)
                elif step is CUT:
                    await asyncio.sleep(0.05)
                    writer.transport.abort()
                    return
                else:
                    writer.write(b"%x\r\n" % len(step) + step + b"\r\n")
                    await writer.drain()
            writer.write(b"0\r\n\r\n")


async def read_body(reader: asyncio.StreamReader, head: str) -> bytes:
    """Return a request's body, with a length or in chunks."""
    if "chunked" not in head:
        length = head.partition("content-length:")[2].partition("\r")[0]
        return await reader.readexactly(int(length))
    body = b""
    while size := int(await reader.readline(), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readline()
    return body


@dataclass
class Stage:
    """The model API, and the server before it."""

    api: Api
    execute: Any
    sessions: Any

    async def ask(self, prompt: str, **more: Any) -> list[Any]:
        """Return the events of a stream."""
        request = pb.ExecuteRequest(prompt=prompt, generation_config=COLD, **more)
        return await rest_of(self.execute.Execute(request))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage() -> AsyncIterator[Stage]:
    """Run both; answers are cached, shared, kept, and asked for twice where they are slow."""
    api = Api()
    settings = {
        "GEMINI_BACKEND_COALESCE__MODE": "all",
        "GEMINI_BACKEND_HEDGE__ENABLED": "true",
        "GEMINI_BACKEND_HEDGE__DELAY_MS": "400",
        "GEMINI_BACKEND_HEDGE__BUDGET_RATIO": "1",
    }
    unlimited = [("grpc.max_receive_message_length", -1)]
    async with (
        listening(api.serve) as url,
        serving(upstream_at(url, **settings)) as server,
        grpc.aio.insecure_channel(server.grpc, unlimited) as channel,
    ):
        yield Stage(api, rpc.ExecuteServiceStub(channel), session_rpc.SessionServiceStub(channel))


def text_of(events: list[Any]) -> str:
    """Return the text of a stream."""
    return "".join(part.text for event in events for part in event.delta.parts)


async def test_a_round_of_code_execution_reaches_everybody_whole(stage: Stage) -> None:
    """The one who asks, one who asks the same meanwhile, the cache, Process, and who resumes."""
    before = len(stage.api.asked)
    first, second = await asyncio.gather(stage.ask("round#1"), stage.ask("round#1"))
    hit = await stage.ask("round#1")
    request = pb.ProcessRequest(prompt="round#1", generation_config=COLD)
    whole = await stage.execute.Process(request)
    resume = pb.Resume(execution=first[0].execution, after_sequence=1)
    rest = await rest_of(stage.execute.Execute(pb.ExecuteRequest(resume=resume)))
    assert 1 == len(stage.api.asked) - before
    assert pb.CACHE_STATUS_HIT == hit[0].started.cache_status
    assert ["See. Two."] * 4 == [text_of(events) for events in (first, second, hit, rest)]
    assert "See. Two." == "".join(part.text for part in whole.candidates[0].content.parts)
    for events in (first, second, hit, rest):
        assert content.USAGE_QUALITY_EXACT == events[-1].completed.usage.quality


async def test_a_second_attempt_reaches_its_end_too(stage: Stage) -> None:
    """Whichever of two is first to begin is read to the end of its body."""
    before = len(stage.api.asked)
    events = await stage.ask("slow#1")
    assert 2 == len(stage.api.asked) - before
    assert "See. Two." == text_of(events)


async def test_a_round_is_one_turn(stage: Stage) -> None:
    """The next turn is sent with all of it."""
    session = await create(stage.sessions, "round")
    for _ in range(2):
        await stage.ask("round#2", session=session)
    turn = stage.api.asked[-1]["contents"][1]
    assert [{"text": "See. "}, CODE, RESULT, {"text": "Two."}] == [
        part for part in turn["parts"] if part.get("text") != ""
    ]


async def test_an_answer_whose_end_is_lost_is_handed_on_and_not_kept(stage: Stage) -> None:
    """Completed with a warning, asked for anew by the next one; it is no turn of a session."""
    before = len(stage.api.asked)
    for _ in range(2):
        events = await stage.ask("lost end#1")
        done = events[-1].completed
        assert ("whole", ["END_NOT_SEEN"], content.USAGE_QUALITY_ESTIMATED) == (
            text_of(events),
            [warning.code for warning in done.warnings],
            done.usage.quality,
        )
    assert 2 == len(stage.api.asked) - before
    session = await create(stage.sessions, "lost")
    request = pb.ExecuteRequest(prompt="lost end#2", session=session)
    events, failed = await broken_off(stage.execute.Execute(request))
    assert ("whole", "UPSTREAM_STREAM_CUT") == (text_of(events), failed.reason)
    await stage.ask("round#3", session=session)
    assert 1 == len(stage.api.asked[-1]["contents"])


async def test_a_round_that_is_lost_is_a_failure(stage: Stage) -> None:
    """A finish reason on a tool's step makes no answer whole; nobody is given it later on."""
    for _ in range(2):
        request = pb.ExecuteRequest(prompt="lost round#1", generation_config=COLD)
        events, failed = await broken_off(stage.execute.Execute(request))
        assert ("See. ", "UPSTREAM_STREAM_CUT") == (text_of(events), failed.reason)


async def test_an_event_above_16_mib_streams(stage: Stage) -> None:
    """As Process takes it."""
    events = await stage.ask("large#1")
    assert LARGE == len(text_of(events))
    assert events[-1].HasField("completed")
