"""The floor of grpc.aio: the same two RPCs with no policy, no validation and no telemetry."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import aiohttp
import grpc.aio
import msgspec
import uvloop

from gemini.backend.v1 import content_pb2
from gemini.backend.v1 import execute_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

DECODE = msgspec.json.Decoder(dict[str, Any]).decode


def part(answer: bytes) -> content_pb2.Part:
    """Takes the text out of Gemini's JSON, and nothing else."""
    return content_pb2.Part(text=DECODE(answer)["candidates"][0]["content"]["parts"][0]["text"])


async def serve(upstream: str) -> None:
    """Answers Execute and Process from `upstream` (HOST:PORT) until the process is killed."""
    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))

    def post(request: Any, method: str) -> Any:
        contents = [{"role": "user", "parts": [{"text": request.prompt}]}]
        body = msgspec.json.encode({"contents": contents})
        url = f"http://{upstream}/v1beta/models/{request.model}:{method}"
        return session.post(url, data=body, headers={"Content-Type": "application/json"})

    async def execute(request: pb.ExecuteRequest, _: Any) -> AsyncIterator[pb.ExecuteResponse]:
        sequence, rest = 0, b""
        async with post(request, "streamGenerateContent?alt=sse") as answer:
            async for data in answer.content.iter_any():
                *events, rest = (rest + data).split(b"\r\n\r\n")
                for event in events:
                    sequence += 1
                    delta = pb.Delta(parts=[part(event[6:])])
                    yield pb.ExecuteResponse(sequence=sequence, delta=delta)

    async def process(request: pb.ProcessRequest, _: Any) -> pb.ProcessResponse:
        async with post(request, "generateContent") as answer:
            content = content_pb2.Content(parts=[part(await answer.read())])
        return pb.ProcessResponse(candidates=[content_pb2.Candidate(content=content)])

    method = "gemini.backend.v1.ExecuteService"
    stream = grpc.unary_stream_rpc_method_handler(
        execute, pb.ExecuteRequest.FromString, pb.ExecuteResponse.SerializeToString
    )
    unary = grpc.unary_unary_rpc_method_handler(
        process, pb.ProcessRequest.FromString, pb.ProcessResponse.SerializeToString
    )
    handlers = grpc.method_handlers_generic_handler(method, {"Execute": stream, "Process": unary})
    server = grpc.aio.server(handlers=[handlers])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    sys.stdout.write(f"ready grpc=127.0.0.1:{port}\n")
    sys.stdout.flush()
    async with session:
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1]))
