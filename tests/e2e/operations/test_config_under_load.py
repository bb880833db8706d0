"""Changes, rollbacks and reloads under load: no failed request, no leak, no wait.

50 changes here; `make long` makes 1,000 (`CONFIG_CHANGES`).
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import statistics
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.field_mask_pb2 import FieldMask
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gemini.backend.v1 import config_service_pb2 as pb
from gemini.backend.v1 import config_service_pb2_grpc as rpc
from gemini.backend.v1 import execute_service_pb2 as execute_pb
from gemini.backend.v1 import execute_service_pb2_grpc as execute_rpc
from tests.support.servers.process import Process, serving, simulating, upstream_at

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

CHANGES = int(os.environ.get("CONFIG_CHANGES", "50"))
WARM_UP = 12
WHOLE, STREAMS = 6, 4
SLOW = "hello [[fault: chunk_delay seconds=0.02]]"
ADDED_SECONDS = 0.020
MORE_DESCRIPTORS, MORE_TASKS = 2, 2
IDLE_SECONDS = 1.0  # until connections that nobody uses are closed
MORE_KIB = 12 * 1024


@dataclass
class Load:
    """Requests that are always under way, and what became of them."""

    channel: grpc.aio.Channel
    done: int = 0
    failed: list[str] = field(default_factory=list)
    pings: list[tuple[float, float]] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Send until it is ended."""
        stub: Any = execute_rpc.ExecuteServiceStub(self.channel)
        health: Any = health_pb2_grpc.HealthStub(self.channel)

        async def whole() -> None:
            await stub.Process(execute_pb.ProcessRequest(prompt="hi"), timeout=30)

        async def stream() -> None:
            request = execute_pb.ExecuteRequest(prompt=SLOW)
            events = [event async for event in stub.Execute(request, timeout=30)]
            assert events[-1].HasField("completed")

        async def ping() -> None:
            begun = time.monotonic()
            await health.Check(health_pb2.HealthCheckRequest(), timeout=30)
            self.pings.append((begun, time.monotonic()))
            await asyncio.sleep(0.002)

        works = [whole] * WHOLE + [stream] * STREAMS + [ping]
        await asyncio.gather(*map(self._repeat, works))

    async def _repeat(self, work: Callable[[], Awaitable[None]]) -> None:
        while not self.ended.is_set():
            try:
                await work()
            except (grpc.aio.AioRpcError, AssertionError) as error:
                self.failed.append(repr(error))
            self.done += 1


@dataclass
class Changes:
    """Changes of the server's configuration, one after the other."""

    server: Process
    config: Any
    file: Path
    made: int = 0
    spans: list[tuple[float, float]] = field(default_factory=list)

    async def make(self, number: int) -> None:
        """Make so many: updates, resets, rollbacks, reloads in turn."""
        kinds = (self._set, self._reload, self._roll_back, self._reset)
        for _ in range(number):
            begun = time.monotonic()
            await kinds[self.made % len(kinds)]()
            self.spans.append((begun, time.monotonic()))
            self.made += 1
            await asyncio.sleep(0.02)

    async def _set(self) -> None:
        wanted = pb.BackendConfig()
        wanted.execution.idle_timeout_seconds = 100 + self.made
        wanted.retry.max_attempts = 3 + self.made % 7
        wanted.admission.max_queued = 5000 + self.made % 7
        paths = [
            "execution.idle_timeout_seconds",
            "retry.max_attempts",
            "admission.max_queued",
        ]
        await self.config.UpdateConfig(
            pb.UpdateConfigRequest(config=wanted, update_mask=FieldMask(paths=paths))
        )

    async def _reset(self) -> None:
        """End the overrides, that of the rollback over the reload as well."""
        paths = ["retry", "server.drain_seconds"]
        request = pb.UpdateConfigRequest(config=pb.BackendConfig(), reset_paths=paths)
        await self.config.UpdateConfig(request)

    async def _roll_back(self) -> None:
        now = await self.config.GetConfig(pb.GetConfigRequest())
        await self.config.RollbackConfig(pb.RollbackConfigRequest(revision=now.revision - 1))

    async def _reload(self) -> None:
        seconds = 10 + self.made
        text = f"[server]\ndrain_seconds = {seconds}\n"
        await asyncio.to_thread(self.file.write_text, text)
        self.server.send(signal.SIGHUP)
        end = time.monotonic() + 20
        while True:
            now = await self.config.GetConfig(pb.GetConfigRequest())
            if now.config.server.drain_seconds == seconds:
                return
            assert time.monotonic() < end, "the file was not taken"
            await asyncio.sleep(0.01)


@dataclass(frozen=True)
class Held:
    """What the server holds."""

    descriptors: int
    tasks: int
    kib: int

    @staticmethod
    async def of(server: Process) -> Held:
        """Count."""
        before = server.log().count('"event":"state"')
        server.send(signal.SIGUSR1)
        while (log := server.log()).count('"event":"state"') == before:
            await asyncio.sleep(0.02)
        state = next(line for line in reversed(log.splitlines()) if '"event":"state"' in line)
        descriptors = await asyncio.to_thread(os.listdir, f"/proc/{server.process.pid}/fd")
        return Held(len(descriptors), json.loads(state)["tasks"], server.resident_kib())


def added(load: Load, changes: Changes) -> float:
    """Return how much longer a call takes during a change, in seconds; medians."""
    during: list[float] = []
    other: list[float] = []
    for begun, ended in load.pings:
        meets = any(begun < end and start < ended for start, end in changes.spans)
        (during if meets else other).append(ended - begun)
    return statistics.median(during) - statistics.median(other)


async def test_changes_under_load(tmp_path: Path) -> None:
    """Every request succeeds; descriptors, tasks and memory are as before; nobody waits."""
    file = tmp_path / "backend.toml"
    file.write_text("")
    held = {
        "GEMINI_BACKEND_UPSTREAM__GEMINI__KEEPALIVE_SECONDS": str(IDLE_SECONDS / 2),
        "GEMINI_BACKEND_JOURNAL__ENABLED": "false",  # which keep what has been answered
        "GEMINI_BACKEND_EXECUTION__MAX_REMEMBERED": "0",
        "GEMINI_BACKEND_CACHE__MODE": "off",
    }
    async with (
        simulating() as simulator,
        serving(upstream_at(simulator.http, **held), "--config", str(file)) as server,
        grpc.aio.insecure_channel(server.grpc) as channel,
    ):
        changes = Changes(server, rpc.ConfigServiceStub(channel), file)
        await under_load(channel, changes, WARM_UP)
        before = await Held.of(server)
        load = await under_load(channel, changes, CHANGES)
        after = await Held.of(server)
        assert ([], True) == (load.failed, load.done > changes.made)
        assert after.descriptors - before.descriptors <= MORE_DESCRIPTORS
        assert after.tasks - before.tasks <= MORE_TASKS
        assert after.kib - before.kib <= MORE_KIB
        assert added(load, changes) < ADDED_SECONDS


async def under_load(channel: grpc.aio.Channel, changes: Changes, number: int) -> Load:
    """Make so many changes under load; return the load once the server is idle again."""
    load = Load(channel)
    running = asyncio.create_task(load.run())
    try:
        await changes.make(number)
    finally:
        load.ended.set()
        await running
    await asyncio.sleep(2 * IDLE_SECONDS)
    return load
