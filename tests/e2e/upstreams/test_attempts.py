"""With everything failing: six attempts for one call, whatever the client's own retries do."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import grpc
import pytest

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import execute_service_pb2_grpc as rpc
from gemini.backend.v1.content_pb2 import Content, Part
from tests.support.messages.failures import failure_of, rest_of
from tests.support.servers.process import serving, simulating, upstream_at

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.servers.process import Process

RETRIES = {
    "maxAttempts": 4,
    "initialBackoff": "0.05s",
    "maxBackoff": "0.2s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "INTERNAL"],
}
CONFIG = json.dumps({"methodConfig": [{"name": [{}], "retryPolicy": RETRIES}]})


EXECUTIONS = "generateContent", "streamGenerateContent"


async def attempts_at(simulator: Process, *methods: str) -> int:
    """Return how many calls of these methods have reached the simulator."""
    url = f"{simulator.http}/_simulator/stats"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        counts: dict[str, int] = (await answer.json())["by_method"]
    return sum(counts.get(name, 0) for name in methods)


@asynccontextmanager
async def failing(tmp_path: Path, fault: dict[str, Any]) -> AsyncIterator[tuple[Any, Process]]:
    """Yield a stub whose channel makes retries, and the upstream, all of whose answers fail."""
    script = tmp_path / "faults.json"
    script.write_text(json.dumps({"rules": [{"fault": fault}]}))
    options: list[tuple[str, Any]] = [("grpc.service_config", CONFIG)]
    quick = {"GEMINI_BACKEND_RETRY__INITIAL_DELAY_MS": "10"}
    async with (
        simulating("--script", str(script)) as simulator,
        serving(upstream_at(simulator.http, **quick)) as server,
        grpc.aio.insecure_channel(server.grpc, options=options) as channel,
    ):
        yield rpc.ExecuteServiceStub(channel), simulator


@pytest.mark.parametrize("kind", ["whole", "streamed"])
@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"fault": "overloaded"}, "UPSTREAM_UNAVAILABLE"),
        ({"fault": "garbage", "after": 0}, "UPSTREAM_MALFORMED_ANSWER"),
    ],
)
async def test_grpc_repeats_no_execution(
    tmp_path: Path, kind: str, fault: dict[str, Any], reason: str
) -> None:
    """Its name has arrived, after which gRPC retries nothing; upstream is called six times."""
    async with failing(tmp_path, fault) as (stub, simulator):
        if kind == "whole":
            failed = await failure_of(stub.Process(pb.ProcessRequest(prompt="x"), timeout=8))
        else:
            answer = stub.Execute(pb.ExecuteRequest(prompt="x"), timeout=8)
            failed = await failure_of(rest_of(answer))
        assert (reason, 6) == (failed.reason, await attempts_at(simulator, *EXECUTIONS))


async def test_what_grpc_repeats_calls_upstream_no_more(tmp_path: Path) -> None:
    """An embedding has no name: gRPC repeats it up to three times, and the server refuses that."""
    async with failing(tmp_path, {"fault": "overloaded"}) as (stub, simulator):
        request = pb.EmbedRequest(contents=[Content(parts=[Part(text="x")])])
        failed = await failure_of(stub.Embed(request, timeout=8))
        made = await attempts_at(simulator, "batchEmbedContents")
    assert ("POLICY_CIRCUIT_OPEN", 6) == (failed.reason, made)
