"""What each signal does to a running server, and to the simulator."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from gemini.backend.v1 import config_service_pb2 as config_pb
from gemini.backend.v1 import config_service_pb2_grpc as config_rpc
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import execute_service_pb2_grpc as rpc
from gemini_backend.signals import HURRY_SECONDS, OTHERS, STOPPING
from tests.support.servers.process import Process, clean_environ, serving, simulating

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

IGNORED = ("SIGUSR2", "SIGALRM", "SIGVTALRM", "SIGPROF", "SIGPWR", "SIGRTMIN")
SERVE = ("serve", "--listen", "127.0.0.1:0", "--web-listen", "127.0.0.1:0")
HANGING = """
import asyncio, time
from gemini_backend.signals import Signals

async def hang():
    Signals()
    print("ready", flush=True)
    while True:
        time.sleep(60)

asyncio.run(hang())
"""


async def said(server: Process, event: str) -> dict[str, Any]:
    """Wait for a line of the log; return it."""
    for _ in range(500):
        for line in server.log().splitlines():
            if line.startswith("{") and (found := json.loads(line))["event"] == event:
                return dict(found)
        await asyncio.sleep(0.02)
    raise AssertionError(f"no line {event} in {server.log()}")


async def alive(server: Process) -> bool:
    """Tell whether it answers."""
    async with grpc.aio.insecure_channel(server.grpc) as channel:
        answer = await rpc.ExecuteServiceStub(channel).Process(pb.ProcessRequest(prompt="hi"))
    return bool(answer.candidates)


@pytest.mark.parametrize("start", [serving, simulating], ids=["serve", "simulate"])
async def test_a_signal_without_a_meaning_is_ignored(
    start: Any,
) -> None:
    """A signal that would end a process by default does not end this one."""
    running: AbstractAsyncContextManager[Process] = start()
    async with running as process:
        for name in (*IGNORED, "SIGHUP", "SIGUSR1", "SIGQUIT", "SIGPIPE"):
            process.send(getattr(signal, name))
        if "grpc" in process.ports:
            assert await alive(process)
            assert "SIGUSR2" == (await said(process, "signal_ignored"))["signal"]
        else:
            await asyncio.sleep(0.3)
        assert process.process.returncode is None
        assert 0 == await process.stop()


def ignores(pid: int, number: signal.Signals) -> bool:
    """Tell whether a process ignores a signal."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return bool(int(re.findall(r"SigIgn:\s+(\w+)", status)[0], 16) & 1 << number - 1)


async def test_a_signal_during_the_start_does_not_end_it() -> None:
    """Neither does a reload that comes before there is anything to reload."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "gemini_backend", *SERVE),
        env=clean_environ(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    reading = asyncio.ensure_future(process.stdout.readline())
    while not ignores(process.pid, signal.SIGUSR1):  # Python itself has not started
        await asyncio.sleep(0.01)
    while not reading.done():
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGUSR1)
        await asyncio.sleep(0.02)
    assert (await reading).startswith(b"ready ")
    process.send_signal(signal.SIGTERM)
    assert 0 == await asyncio.wait_for(process.wait(), 10)


async def test_sigusr1_logs_the_state() -> None:
    """One line: how the server is, and what it is doing."""
    async with serving() as server:
        server.send(signal.SIGUSR1)
        line = await said(server, "state")
        assert ("healthy", 1, 0) == (
            line["state"],
            line["config_revision"],
            line["rpcs_in_flight"],
        )


async def test_sigquit_logs_where_everything_is() -> None:
    """Threads and tasks, as places in the code; the server goes on."""
    async with serving() as server:
        server.send(signal.SIGQUIT)
        threads = (await said(server, "thread_stacks"))["stacks"]
        tasks = (await said(server, "task_stacks"))["stacks"]
        assert "MainThread" in threads
        assert any("LoopLag.run" in where for where in tasks)
        assert await alive(server)


@pytest.fixture
async def reloading(tmp_path: Path) -> AsyncIterator[tuple[Process, Path]]:
    """Run a server with a configuration file of its own."""
    file = tmp_path / "backend.toml"
    file.write_text("[retry]\nmax_attempts = 2\n")
    async with serving(None, "--config", str(file)) as server:
        yield server, file


async def current(server: Process) -> config_pb.GetConfigResponse:
    """Return the configuration in force."""
    async with grpc.aio.insecure_channel(server.grpc) as channel:
        stub: Any = config_rpc.ConfigServiceStub(channel)
        answer: config_pb.GetConfigResponse = await stub.GetConfig(config_pb.GetConfigRequest())
    return answer


async def test_sighup_takes_what_is_live(reloading: tuple[Process, Path]) -> None:
    """Live settings are one revision that says why; others are named and need a restart."""
    server, file = reloading
    file.write_text("[retry]\nmax_attempts = 3\n[server]\nmax_message_mb = 8\n")
    server.send(signal.SIGHUP)
    assert ["retry.max_attempts"] == (await said(server, "config_reloaded"))["changed"]
    needs = await said(server, "config_needs_restart")
    assert (["server.max_message_mb"], "warning") == (needs["settings"], needs["level"])
    answer = await current(server)
    assert (3, 64) == (answer.config.retry.max_attempts, answer.config.server.max_message_mb)
    assert 2 == answer.revision
    async with grpc.aio.insecure_channel(server.grpc) as channel:
        stub: Any = config_rpc.ConfigServiceStub(channel)
        history = await stub.ListConfigRevisions(config_pb.ListConfigRevisionsRequest())
    assert f"SIGHUP: {file} was read again" == history.revisions[0].comment


@pytest.mark.parametrize(
    ("wrong", "said_of_it"),
    [
        ("[retry\n", "not valid TOML"),
        ("[retry]\nmax_attempts = 0\n", "retry.max_attempts"),
        ("[rety]\nmax_attempts = 3\n", "did you mean"),
        (None, "cannot read"),
    ],
    ids=["no TOML", "wrong value", "unknown", "no file"],
)
async def test_a_broken_file_changes_nothing(
    reloading: tuple[Process, Path], wrong: str | None, said_of_it: str
) -> None:
    """What is wrong is logged as an error, and the server goes on as it was."""
    server, file = reloading
    if wrong is None:
        file.unlink()
    else:
        file.write_text(wrong)
    server.send(signal.SIGHUP)
    line = await said(server, "config_not_reloaded")
    assert "error" == line["level"]
    assert said_of_it in line["reason"]
    answer = await current(server)
    assert (2, 1) == (answer.config.retry.max_attempts, answer.revision)


@pytest.mark.parametrize(("signals", "at_most"), [(2, HURRY_SECONDS + 5), (3, 5)])
async def test_a_loop_that_hangs_is_ended_all_the_same(signals: int, at_most: float) -> None:
    """The first signal waits for the loop; after the second it is over soon, after a third now."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HANGING, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert b"ready\n" == await process.stdout.readline()
    for _ in range(signals):
        process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.3)
    assert 0 == await asyncio.wait_for(process.wait(), at_most)


def test_no_signal_of_the_list_ends_python() -> None:
    """The list of what is ignored has what the system would end a process by, and no more."""
    kept = {signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM, signal.SIGINT}
    assert not set(OTHERS) & (kept | set(STOPPING))
