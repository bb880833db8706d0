"""A simulator and a server in front of it, both as processes, with all defaults unless told."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp
import grpc

from gemini.backend.v1 import execute_service_pb2_grpc as rpc
from tests.support.servers.process import serving, simulating, upstream_at
from tests.support.upstreams.raw_upstreams import stats_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from tests.support.servers.process import Process


@dataclass(frozen=True)
class Stack:
    """A simulator, the server in front of it, a channel to the server and its stub."""

    simulator: Process
    server: Process
    stub: Any
    channel: grpc.aio.Channel

    async def script(self, *rules: dict[str, Any], limits: Iterable[dict[str, Any]] = ()) -> None:
        """Give the simulator another script, in which these rules count from nothing."""
        whole = {"rules": rules, "limits": list(limits)}
        url = f"{self.simulator.http}/_simulator/script"
        async with aiohttp.ClientSession() as session, session.put(url, json=whole) as answer:
            assert answer.status == 200, await answer.text()

    async def arrivals(self, prompt: str) -> list[float]:
        """Return when each generating request with this in its prompt arrived, oldest first."""
        url = f"{self.simulator.http}/_simulator/requests"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            requests = (await answer.json())["requests"]
        return [
            request["time"]
            for request in requests
            if request["method"].lower().endswith("generatecontent")
            and prompt in str(request["body"])
        ]

    async def generated(self) -> int:
        """Return how often the simulator was asked to generate, in either way."""
        counts = (await stats_of(self.simulator))["by_method"]
        return int(counts.get("streamGenerateContent", 0) + counts.get("generateContent", 0))


@asynccontextmanager
async def stack(*arguments: str, **settings: str) -> AsyncIterator[Stack]:
    """Run both; `arguments` are the simulator's, `settings` end the server's variables."""
    env = {f"GEMINI_BACKEND_{name}": value for name, value in settings.items()}
    async with (
        simulating(*arguments) as simulator,
        serving(upstream_at(simulator.http, **env)) as server,
        grpc.aio.insecure_channel(server.grpc, [("grpc.use_local_subchannel_pool", 1)]) as channel,
    ):
        yield Stack(simulator, server, rpc.ExecuteServiceStub(channel), channel)


def text_of(events: Iterable[Any]) -> str:
    """Return the text of all deltas, thoughts aside."""
    return "".join(part.text for event in events for part in event.delta.parts if not part.thought)
