"""A thousand calls before an upstream that sends more than it is asked for."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import aiohttp
import grpc
import pytest

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import execute_service_pb2_grpc as rpc
from tests.support.servers.process import AS_IT_COMES, serving, upstream_at
from tests.upstream.gemini.connection.test_desync import LATE_408, answer_to, request_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

CALLERS, CALLS = 20, 50
_LATE_SECONDS = 0.01


class StrayAnswers:
    """An upstream that answers every question with its number, and then again unasked.

    In turns: in the same write; a little later; a 408 before it closes; half a head; not at all.
    """

    def __init__(self) -> None:
        """Know no request yet."""
        self.requests = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        loop = asyncio.get_running_loop()
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while request := await request_of(reader):
                answer = answer_to(request)
                if request.startswith(b"GET"):
                    writer.write(answer)
                    continue
                self.requests += 1
                turn = self.requests % 5
                writer.write(answer * 2 if turn == 0 else answer)
                if turn == 1:
                    loop.call_later(_LATE_SECONDS, writer.write, answer)
                elif turn == 2:
                    loop.call_later(_LATE_SECONDS, writer.write, LATE_408)
                    loop.call_later(_LATE_SECONDS, writer.close)
                elif turn == 3:
                    loop.call_later(_LATE_SECONDS, writer.write, answer[:20])
        writer.transport.abort()


async def process(stub: Any, number: int) -> str:
    """Ask for a whole answer."""
    response = await stub.Process(pb.ProcessRequest(prompt=f"number {number}", model="m"))
    return "".join(part.text for part in response.candidates[0].content.parts)


async def execute(stub: Any, number: int) -> str:
    """Ask for a stream."""
    events = stub.Execute(pb.ExecuteRequest(prompt=f"number {number}", model="m"))
    return "".join([part.text async for event in events for part in event.delta.parts])


@pytest.mark.parametrize("ask", [process, execute])
async def test_each_of_many_callers_gets_its_own_answer(
    ask: Callable[[Any, int], Awaitable[str]],
) -> None:
    """None of a thousand calls gets another's answer, fails, or is sent twice."""
    upstream = StrayAnswers()
    listening = await asyncio.start_server(upstream.serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    async with serving(upstream_at(f"http://127.0.0.1:{port}", **AS_IT_COMES)) as server:
        async with grpc.aio.insecure_channel(server.grpc) as channel:
            stub = rpc.ExecuteServiceStub(channel)

            async def caller(first: int) -> list[tuple[int, str]]:
                numbers = range(first, first + CALLS)
                got = [(number, await ask(stub, number)) for number in numbers]
                return [(number, text) for number, text in got if text != str(number)]

            wrong = await asyncio.gather(*(caller(turn * CALLS) for turn in range(CALLERS)))
        assert [[]] * CALLERS == wrong
        assert CALLERS * CALLS == upstream.requests
        async with aiohttp.ClientSession() as client, client.get(f"{server.web}/metrics") as page:
            figures = await page.text()
        assert "gemini_backend_upstream_condemned_connections_total" in figures
        assert "upstream_stray_bytes" in server.log()
    listening.close()
