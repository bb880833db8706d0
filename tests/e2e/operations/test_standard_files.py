"""Standard output and error that are closed, full, or not read by anybody.

Covers: standard_files.py, commands/file_limit.py
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import execute_service_pb2_grpc as rpc
from gemini.backend.v1 import health_service_pb2 as health_pb
from gemini.backend.v1 import health_service_pb2_grpc as health_rpc
from tests.support.messages.failures import failure_of
from tests.support.servers.process import (
    AS_IT_COMES,
    clean_environ,
    run_command,
    serving,
    simulating,
    upstream_at,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

COMMAND = (sys.executable, "-m", "gemini_backend")
SERVE = (*COMMAND, "serve", "--listen", "127.0.0.1:0", "--web-listen", "127.0.0.1:0")


@asynccontextmanager
async def writing_to(stderr: int, **settings: str) -> AsyncIterator[tuple[Any, str]]:
    """Run a server whose standard error is this descriptor; give it and its gRPC address."""
    process = await asyncio.create_subprocess_exec(
        *SERVE,
        env={**clean_environ(), **settings},
        stdout=asyncio.subprocess.PIPE,
        stderr=stderr,
    )
    try:
        assert process.stdout is not None
        line = (await asyncio.wait_for(process.stdout.readline(), 20)).decode()
        yield process, re.findall(r"grpc=(\S+)", line)[0]
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def calls(address: str, count: int) -> int:
    """Make calls one after another; return how many succeeded."""
    async with grpc.aio.insecure_channel(address) as channel:
        stub: Any = rpc.ExecuteServiceStub(channel)
        answers = [await stub.Process(pb.ProcessRequest(prompt="Say: x")) for _ in range(count)]
    return len(answers)


async def test_a_reader_that_has_stopped_holds_up_neither_calls_nor_the_end() -> None:
    """With a full pipe that nobody reads, calls are served and SIGTERM ends the server."""
    reading, writing = os.pipe()
    try:
        os.set_blocking(writing, False)
        with pytest.raises(BlockingIOError):
            while True:
                os.write(writing, b"x" * 4096)
        os.set_blocking(writing, True)
        async with writing_to(writing) as (process, address):
            assert 20 == await calls(address, 20)
            process.send_signal(signal.SIGTERM)
            assert 0 == await asyncio.wait_for(process.wait(), 10)
    finally:
        os.close(reading)
        os.close(writing)


async def test_a_reader_that_has_gone_is_no_failure() -> None:
    """Lines are lost; the exit code is that of an orderly end."""
    reading, writing = os.pipe()
    async with writing_to(writing) as (process, address):
        os.close(writing)
        os.close(reading)
        assert 5 == await calls(address, 5)
        process.send_signal(signal.SIGTERM)
        assert 0 == await asyncio.wait_for(process.wait(), 10)


def fd_2(pid: int) -> str:
    """Return what a process has as its standard error."""
    return str(Path(f"/proc/{pid}/fd/2").readlink())


@pytest.mark.parametrize("closed", ["2>&-", "2>/dev/full", "0<&- 2>&-"])
async def test_without_standard_error_it_serves_and_ends_well(closed: str) -> None:
    """A closed or full standard error is nobody's failure, and no socket takes its place."""
    process = await asyncio.create_subprocess_shell(
        f"exec {' '.join(SERVE)} {closed}", env=clean_environ(), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    line = (await asyncio.wait_for(process.stdout.readline(), 20)).decode()
    assert 5 == await calls(re.findall(r"grpc=(\S+)", line)[0], 5)
    assert not fd_2(process.pid).startswith("socket:")
    process.send_signal(signal.SIGTERM)
    assert 0 == await asyncio.wait_for(process.wait(), 10)


@pytest.mark.parametrize("closed", [">&-", ">/dev/full"])
async def test_a_ready_line_that_nobody_reads_is_no_failure(closed: str) -> None:
    """A server without standard output serves all the same, and ends with code 0."""
    process = await asyncio.create_subprocess_shell(
        f"exec {' '.join(SERVE)} {closed}", env=clean_environ(), stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    await asyncio.wait_for(process.stderr.readline(), 20)
    await asyncio.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    _, err = await asyncio.wait_for(process.communicate(), 10)
    assert 0 == process.returncode
    assert b"Traceback" not in err


async def test_a_pipe_that_is_closed_early_ends_a_command_quietly() -> None:
    """Neither a trace nor a word, whether a command or its help was cut short."""
    for arguments in ("config", "--help", "config --help"):
        line = f"{' '.join(COMMAND)} {arguments} | true"
        done = await run_command("/bin/sh", "-c", line)
        assert ("", 0) == (done.stderr, done.code)


async def test_output_that_cannot_be_written_is_one_sentence() -> None:
    """A full disk behind standard output is a failure of the command, which says so."""
    done = await run_command("/bin/sh", "-c", f"{' '.join(COMMAND)} config > /dev/full")
    assert 1 == done.code
    assert "gemini-backend: cannot write the output: No space left on device\n" == done.stderr


async def test_only_errors_are_logged_where_only_errors_are_wanted() -> None:
    """With logging.level = error an orderly life leaves no line, that of calls included."""
    settings = {
        "GEMINI_BACKEND_LOGGING__LEVEL": "error",
        "GEMINI_BACKEND_RETRY__ENABLED": "false",
    }
    async with serving(settings) as server:
        async with grpc.aio.insecure_channel(server.grpc) as channel:
            stub: Any = rpc.ExecuteServiceStub(channel)
            await stub.Process(pb.ProcessRequest(prompt="hi"))
            with pytest.raises(grpc.aio.AioRpcError):
                await stub.Process(pb.ProcessRequest(prompt="[[fault: overloaded]]"))
        server.send(signal.SIGUSR2)
        assert 0 == await server.stop()
    assert "" == server.log()


async def test_a_low_limit_of_descriptors_is_said_at_the_start() -> None:
    """It names the limit, what is needed, and what to change; a limit that can be raised is."""
    line = f"ulimit -Sn 100; ulimit -Hn %s; exec {' '.join(SERVE)}"
    for hard, low in ((500, True), (20000, False)):
        process = await asyncio.create_subprocess_exec(
            *("/bin/sh", "-c", line % hard),
            env=clean_environ(),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        await asyncio.wait_for(process.stdout.readline(), 20)
        with open(f"/proc/{process.pid}/limits", encoding="ascii") as limits:  # noqa: ASYNC230, PTH123
            (files,) = [one.split() for one in limits if one.startswith("Max open files")]
        assert [str(hard)] * 2 == files[3:5]
        process.send_signal(signal.SIGTERM)
        _, err = await asyncio.wait_for(process.communicate(), 10)
        assert low == ('"event":"file_limit_is_low"' in err.decode())
        assert low == ('"limit":500,"needed":8448' in err.decode())


async def answered(stub: Any) -> bool:
    """Tell whether the server answers again, as soon as a connection is free."""
    for _ in range(50):
        with suppress(grpc.aio.AioRpcError):
            return bool((await stub.Process(pb.ProcessRequest(prompt="hi"))).candidates)
        await asyncio.sleep(0.1)
    return False


async def test_a_lack_of_descriptors_is_not_the_upstreams_failure() -> None:
    """Calls fail by the server's own reason; the model stays well, and health names the limit."""
    line = f"ulimit -n 48; exec {' '.join(SERVE)}"
    async with simulating() as simulator:
        process = await asyncio.create_subprocess_exec(
            *("/bin/sh", "-c", line),
            env={**clean_environ(), **upstream_at(simulator.http, **AS_IT_COMES)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert process.stdout is not None
        ready = (await asyncio.wait_for(process.stdout.readline(), 20)).decode()
        async with grpc.aio.insecure_channel(re.findall(r"grpc=(\S+)", ready)[0]) as channel:
            stub: Any = rpc.ExecuteServiceStub(channel)
            request = pb.ProcessRequest(prompt="[[fault: first_byte_delay seconds=1]]")
            failures = await asyncio.gather(
                *(failure_of(stub.Process(request)) for _ in range(60)), return_exceptions=True
            )
            reasons = {one.reason for one in failures if not isinstance(one, BaseException)}
            health: Any = health_rpc.HealthServiceStub(channel)
            answer = await health.GetHealthStatus(health_pb.GetHealthStatusRequest())
            assert await answered(stub)
        process.send_signal(signal.SIGTERM)
        assert 0 == await asyncio.wait_for(process.wait(), 10)
    states = {one.name: (one.state, one.message) for one in answer.status.components}
    assert {"BACKEND_OUT_OF_DESCRIPTORS"} == reasons
    assert health_pb.HEALTH_STATE_DEGRADED == states["descriptors"][0]
    assert "its limit is 48" in states["descriptors"][1]
    assert health_pb.HEALTH_STATE_HEALTHY == states["upstream"][0]
