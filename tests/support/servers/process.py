"""The real server, and the simulator, as processes."""

from __future__ import annotations

import asyncio
import atexit
import os
import re
import signal
import sys
import tempfile
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.upstreams.http_clients import HTTP_CLIENT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

READY_SECONDS = 20
_OWN = ("GEMINI_", "GOOGLE_API_KEY", "OTEL_")


@cache
def state_home() -> str:
    """Return a folder for what servers keep, in place of the developer's own."""
    folder = tempfile.TemporaryDirectory(prefix="gemini-backend-")
    atexit.register(folder.cleanup)
    return folder.name


def clean_environ() -> dict[str, str]:
    """Return this process's environment without the developer's own settings, keys and state.

    State is kept in a folder of its own, so that no server finds what another one has kept.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_OWN) and not name.lower().endswith("_proxy")
    }
    if HTTP_CLIENT:
        kept["GEMINI_BACKEND_UPSTREAM__HTTP_CLIENT"] = HTTP_CLIENT
    return {**kept, "XDG_STATE_HOME": tempfile.mkdtemp(dir=state_home())}


@dataclass
class Process:
    """A running command: its ports by name, and all that it wrote on standard error."""

    process: asyncio.subprocess.Process
    ports: dict[str, str]
    stderr: bytearray = field(default_factory=bytearray)

    @property
    def grpc(self) -> str:
        """Return `HOST:PORT` of the gRPC side."""
        return self.ports["grpc"]

    @property
    def web(self) -> str:
        """Return the base address of the HTTP side."""
        return f"http://{self.ports['web']}"

    @property
    def http(self) -> str:
        """Return the base address of a simulator."""
        return f"http://{self.ports['http']}"

    def log(self) -> str:
        """Return what it has written on standard error so far."""
        return self.stderr.decode()

    def resident_kib(self) -> int:
        """Return how much memory it has now, in KiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0])

    def send(self, number: signal.Signals) -> None:
        """Send a signal and wait for nothing."""
        self.process.send_signal(number)

    async def ended(self, seconds: float = READY_SECONDS) -> int:
        """Wait for it to end by itself; return its exit code.

        Raises:
            TimeoutError: it did not within `seconds`.
        """
        return await asyncio.wait_for(self.process.wait(), seconds)

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        if self.process.returncode is None:
            self.process.send_signal(number)
        return await self.ended()


@dataclass(frozen=True)
class Finished:
    """A command that has ended."""

    code: int
    stdout: str
    stderr: str


async def run_command(
    *command: str, env: Mapping[str, str] | None = None, seconds: float = 60
) -> Finished:
    """Run any command to its end.

    Raises:
        TimeoutError: it does not end within `seconds`; it is killed.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        env={**clean_environ(), **(env or {})},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), seconds)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return Finished(process.returncode, out.decode(), err.decode())


async def run_backend(*arguments: str, env: Mapping[str, str] | None = None) -> Finished:
    """Run `gemini-backend` with these arguments to its end."""
    return await run_command(sys.executable, "-m", "gemini_backend", *arguments, env=env)


@asynccontextmanager
async def running(*arguments: str, env: Mapping[str, str] | None = None) -> AsyncIterator[Process]:
    """Run `gemini-backend` with these arguments until the scope ends.

    Raises:
        AssertionError: it ended before its ready line; with what it wrote.
    """
    command = (sys.executable, "-m", "gemini_backend", *arguments)
    async with started(*command, env=env) as process:
        yield process


@asynccontextmanager
async def started(*command: str, env: Mapping[str, str] | None = None) -> AsyncIterator[Process]:
    """Run a command that says `ready NAME=HOST:PORT ...`, until the scope ends.

    Raises:
        AssertionError: it ended before its ready line; with what it wrote.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        env={**clean_environ(), **(env or {})},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    made = Process(process, {})
    reading = asyncio.ensure_future(_read_on(process.stderr, made.stderr))
    try:
        line = (await asyncio.wait_for(process.stdout.readline(), READY_SECONDS)).decode()
        assert line.startswith("ready "), f"no ready line but {line!r}; {made.log()}"
        made.ports = dict(re.findall(r"(\w+)=(\S+)", line))
        yield made
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await reading
        process._transport.close()  # type: ignore[attr-defined]  # or it warns when collected


async def _read_on(stream: asyncio.StreamReader, into: bytearray) -> None:
    while data := await stream.read(65536):
        into.extend(data)


@asynccontextmanager
async def serving(env: Mapping[str, str] | None = None, *arguments: str) -> AsyncIterator[Process]:
    """Run the server on free ports; without a key, on its built-in simulator."""
    ports = ("--listen", "127.0.0.1:0", "--web-listen", "127.0.0.1:0")
    async with running("serve", *ports, *arguments, env=env) as process:
        yield process


@asynccontextmanager
async def simulating(*arguments: str, port: int = 0) -> AsyncIterator[Process]:
    """Run the simulator by itself."""
    async with running("simulate", "--listen", f"127.0.0.1:{port}", *arguments) as process:
        yield process


# For tests of single calls: nothing is tried again, shared or kept, and what one test does to the
# upstream is not held against the next one.
AS_IT_COMES = {
    "GEMINI_BACKEND_RETRY__ENABLED": "false",
    "GEMINI_BACKEND_BREAKER__ENABLED": "false",
    "GEMINI_BACKEND_QUOTA__ENABLED": "false",
    "GEMINI_BACKEND_CACHE__MODE": "off",
    "GEMINI_BACKEND_COALESCE__MODE": "off",
    "GEMINI_BACKEND_MODELS__GONE": "send",
}


def upstream_at(url: str, **settings: str) -> dict[str, str]:
    """Return the environment of a server whose upstream is at `url`."""
    return {
        "GEMINI_API_KEY": "test-key",
        "GEMINI_BACKEND_UPSTREAM__GEMINI__BASE_URL": url,
        **settings,
    }
