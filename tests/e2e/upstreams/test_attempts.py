"""With everything failing: six attempts for one call, whatever the client's own retries do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import aiohttp
import grpc
import pytest

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import execute_service_pb2_grpc as rpc
from tests.support.messages.failures import failure_of, rest_of
from tests.support.servers.process import serving, simulating, upstream_at

if TYPE_CHECKING:
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


async def attempts_at(simulator: Process) -> int:
    """Return how many calls that generate have reached the simulator."""
    url = f"{simulator.http}/_simulator/stats"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        counts: dict[str, int] = (await answer.json())["by_method"]
    return sum(counts.get(name, 0) for name in ("generateContent", "streamGenerateContent"))


@pytest.mark.parametrize("kind", ["whole", "streamed"])
@pytest.mark.parametrize(
    "fault", [{"fault": "overloaded"}, {"fault": "garbage", "after": 0}], ids=str
)
async def test_a_clients_own_retries_add_no_attempts(
    tmp_path: Path, kind: str, fault: dict[str, Any]
) -> None:
    """GRPC repeats the call up to three times; upstream is called six times, and no more."""
    script = tmp_path / "faults.json"
    script.write_text(json.dumps({"rules": [{"fault": fault}]}))
    options: list[tuple[str, Any]] = [("grpc.service_config", CONFIG)]
    quick = {"GEMINI_BACKEND_RETRY__INITIAL_DELAY_MS": "10"}
    async with (
        simulating("--script", str(script)) as simulator,
        serving(upstream_at(simulator.http, **quick)) as server,
        grpc.aio.insecure_channel(server.grpc, options=options) as channel,
    ):
        stub = rpc.ExecuteServiceStub(channel)
        whole, streamed = pb.ProcessRequest(prompt="x"), pb.ExecuteRequest(prompt="x")
        if kind == "whole":
            failed = await failure_of(stub.Process(whole, timeout=8))
        else:
            failed = await failure_of(rest_of(stub.Execute(streamed, timeout=8)))
        assert 6 == await attempts_at(simulator)
    assert "POLICY_CIRCUIT_OPEN" == failed.reason
