"""Servers in the states in which they fail: each by its name, with what has happened before."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import grpc

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import execute_service_pb2_grpc as rpc
from gemini.backend.v1 import session_service_pb2 as sessions_pb
from gemini.backend.v1 import session_service_pb2_grpc as sessions_rpc
from tests.support.messages.failures import Failure
from tests.support.servers.guarded import key_made
from tests.support.servers.process import AS_IT_COMES, serving, upstream_at

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

CONFIG = """
    [chaos]
    enabled = true
    rules = [{ fault = "error", model = "case-chaos" }]

    [[interceptors]]
    name = "defect"
    after = "validate"
"""
DEFECT = '''
    """A layer with a defect."""


    class Defect:
        """Fails where it was not expected to."""

        def __init__(self, options):
            pass

        async def unary(self, call, request, proceed, /):
            if getattr(request, "prompt", "") == "defect":
                raise ZeroDivisionError
            return await proceed(call, request)

        def stream(self, call, request, proceed, /):
            return proceed(call, request)
'''
GOOD = pb.ProcessRequest(prompt="hi", model="case-good")


async def nothing() -> None:
    """Let the call run."""


@dataclass(frozen=True)
class Stage:
    """A server that is ready to fail.

    Attributes:
        target: Where it listens.
        meanwhile: What happens to it while the call that fails is running.
        key: The API key of the caller; empty for none.
    """

    target: str
    meanwhile: Callable[[], Coroutine[Any, Any, None]] = nothing
    key: str = ""


def installed(folder: Path) -> dict[str, str]:
    """Install the layer with a defect; return the environment that finds it."""
    (folder / "defect_layer.py").write_text(dedent(DEFECT))
    info = folder / "defect_layer-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: defect-layer\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[gemini_backend.interceptors]\ndefect = defect_layer:Defect\n"
    )
    return {"PYTHONPATH": str(folder)}


@asynccontextmanager
async def plain(api: str, folder: Path) -> AsyncIterator[Stage]:
    """Hand everything on as it comes, within small limits; there is one session, the most."""
    (folder / "gemini.toml").write_text(dedent(CONFIG))
    env = upstream_at(
        api,
        **AS_IT_COMES,
        **installed(folder),
        GEMINI_BACKEND_SERVER__MAX_MESSAGE_MB="1",
        GEMINI_BACKEND_UPSTREAM__GEMINI__MAX_BODY_BYTES="262144",
        GEMINI_BACKEND_SESSIONS__MAX_SESSIONS="1",
        GEMINI_BACKEND_SESSIONS__STORE="memory",
        GEMINI_BACKEND_EXECUTION__MIN_DEADLINE_MS="6000",
    )
    async with serving(env, "--config", str(folder / "gemini.toml")) as server:
        async with grpc.aio.insecure_channel(server.grpc) as channel:
            desk: Any = sessions_rpc.SessionServiceStub(channel)
            await desk.CreateSession(sessions_pb.CreateSessionRequest(session_id="taken"))
        yield Stage(server.grpc)


@asynccontextmanager
async def guarded(api: str, folder: Path) -> AsyncIterator[Stage]:
    """Ask who calls; the caller's key has the role of a viewer."""
    state = folder / "guarded"
    settings = {"GEMINI_BACKEND_STATE__DIR": str(state), "GEMINI_BACKEND_AUTH__METHODS": "api_key"}
    viewer = await key_made(state, "acme/viewer", "viewer")
    async with serving({**upstream_at(api), **AS_IT_COMES, **settings}) as server:
        yield Stage(server.grpc, key=viewer)


@asynccontextmanager
async def stranger(api: str, folder: Path) -> AsyncIterator[Stage]:
    """Ask who calls; the caller has no key."""
    state = folder / "stranger"
    settings = {"GEMINI_BACKEND_STATE__DIR": str(state), "GEMINI_BACKEND_AUTH__METHODS": "api_key"}
    async with serving({**upstream_at(api), **AS_IT_COMES, **settings}) as server:
        yield Stage(server.grpc)


def configured(
    before: pb.ProcessRequest | None = None, **settings: str
) -> Callable[[str, Path], AbstractAsyncContextManager[Stage]]:
    """Return a stage with these settings, where this request was answered, or failed, before."""

    @asynccontextmanager
    async def stage(api: str, _folder: Path) -> AsyncIterator[Stage]:
        env = {**upstream_at(api), **AS_IT_COMES, **settings}
        async with serving(env) as server:
            if before is not None:
                await ask(server.grpc, before)
            yield Stage(server.grpc)

    return stage


async def ask(target: str, request: pb.ProcessRequest) -> str:
    """Ask once; return the reason of the failure, empty for an answer."""
    async with grpc.aio.insecure_channel(target) as channel:
        stub: Any = rpc.ExecuteServiceStub(channel)
        try:
            await stub.Process(request, timeout=20)
        except grpc.aio.AioRpcError as failed:
            return Failure.of(failed).reason
    return ""


def occupied(
    number: int = 1, **settings: str
) -> Callable[[str, Path], AbstractAsyncContextManager[Stage]]:
    """Return a stage where so many answers that stall hold all that there is to be had."""

    @asynccontextmanager
    async def stage(api: str, _folder: Path) -> AsyncIterator[Stage]:
        async with (
            serving({**upstream_at(api), **AS_IT_COMES, **settings}) as server,
            grpc.aio.insecure_channel(server.grpc) as channel,
        ):
            stub: Any = rpc.ExecuteServiceStub(channel)
            request = pb.ExecuteRequest(prompt="hi", model="case-stalls")
            holding = [stub.Execute(request) for _ in range(number)]
            for answer in holding:
                await answer.read()
            yield Stage(server.grpc)
            for answer in holding:
                answer.cancel()

    return stage


@asynccontextmanager
async def broken(api: str, _folder: Path) -> AsyncIterator[Stage]:
    """Have a circuit that is open."""
    env = {**upstream_at(api), **AS_IT_COMES, "GEMINI_BACKEND_BREAKER__ENABLED": "true"}
    async with serving(env) as server:
        request = pb.ProcessRequest(prompt="hi", model="case-unavailable")
        for _ in range(200):
            if await ask(server.grpc, request) == "POLICY_CIRCUIT_OPEN":
                break
        yield Stage(server.grpc)


@asynccontextmanager
async def unreachable(_api: str, _folder: Path) -> AsyncIterator[Stage]:
    """Have an upstream where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        url = f"http://127.0.0.1:{held.getsockname()[1]}"
    async with serving(upstream_at(url, **AS_IT_COMES)) as server:
        yield Stage(server.grpc)


@asynccontextmanager
async def keyless(api: str, _folder: Path) -> AsyncIterator[Stage]:
    """Have an upstream and no key."""
    async with serving({"GEMINI_BACKEND_UPSTREAM__GEMINI__BASE_URL": api}) as server:
        yield Stage(server.grpc)


@asynccontextmanager
async def storeless(api: str, folder: Path) -> AsyncIterator[Stage]:
    """Have a store of sessions that cannot be read."""
    (folder / "state").mkdir()
    (folder / "state" / "sessions.db").write_bytes(b"no database at all " * 100)
    env = upstream_at(api, GEMINI_BACKEND_STATE__DIR=str(folder / "state"))
    async with serving(env) as server:
        yield Stage(server.grpc)


@asynccontextmanager
async def cancelling(api: str, _folder: Path) -> AsyncIterator[Stage]:
    """Cancel every execution while its caller waits."""
    async with (
        serving({**upstream_at(api), **AS_IT_COMES}) as server,
        grpc.aio.insecure_channel(server.grpc) as channel,
    ):
        stub: Any = rpc.ExecuteServiceStub(channel)

        async def cancel() -> None:
            await asyncio.sleep(1.0)  # both calls have begun
            for execution in (await stub.ListExecutions(pb.ListExecutionsRequest())).executions:
                await stub.CancelExecution(pb.CancelExecutionRequest(name=execution.name))

        yield Stage(server.grpc, cancel)


def take_files(pid: int) -> None:
    """Limit a process to the file descriptors that it has."""
    used = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}  # noqa: PTH208
    free = next(number for number in count() if number not in used)
    _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (free, hard))


@asynccontextmanager
async def without_files(api: str, _folder: Path) -> AsyncIterator[Stage]:
    """Run out of file descriptors while calls wait to be tried again."""
    env = {**upstream_at(api), **AS_IT_COMES, "GEMINI_BACKEND_RETRY__ENABLED": "true"}
    async with serving(env) as server:

        async def take() -> None:
            await asyncio.sleep(1.0)  # both clients are connected
            for _ in range(100):  # none that is given back meanwhile is to be had either
                take_files(server.process.pid)
                await asyncio.sleep(0.02)

        yield Stage(server.grpc, take)


@asynccontextmanager
async def stopping(api: str, _folder: Path) -> AsyncIterator[Stage]:
    """Be told to stop while calls are running."""
    async with serving(upstream_at(api)) as server:

        async def stop() -> None:
            await asyncio.sleep(1.0)  # both clients have begun
            server.send(signal.SIGTERM)

        yield Stage(server.grpc, stop)


STAGES: dict[str, Callable[[str, Path], AbstractAsyncContextManager[Stage]]] = {
    "plain": plain,
    "guarded": guarded,
    "stranger": stranger,
    "hasty": configured(GEMINI_BACKEND_EXECUTION__DEFAULT_DEADLINE_SECONDS="1"),
    "key": configured(),
    "project": configured(),
    "account": configured(),
    "spent": configured(),
    "retrying": configured(
        GEMINI_BACKEND_RETRY__ENABLED="true", GEMINI_BACKEND_RETRY__INITIAL_DELAY_MS="1"
    ),
    "limited": configured(GOOD, GEMINI_BACKEND_RATE_LIMIT__REQUESTS_PER_MINUTE="1"),
    "quota": configured(
        GOOD, GEMINI_BACKEND_QUOTA__ENABLED="true", GEMINI_BACKEND_QUOTA__REQUESTS_PER_MINUTE="1"
    ),
    "full": occupied(
        GEMINI_BACKEND_ADMISSION__MAX_CONCURRENT_REQUESTS="1",
        GEMINI_BACKEND_ADMISSION__MAX_QUEUED="0",
    ),
    "crowded": occupied(2, GEMINI_BACKEND_SERVER__MAX_CONCURRENT_RPCS="2"),
    "one connection": occupied(
        GEMINI_BACKEND_UPSTREAM__GEMINI__MAX_CONNECTIONS="1",
        GEMINI_BACKEND_UPSTREAM__GEMINI__CONNECT_TIMEOUT_SECONDS="0.3",
    ),
    "broken": broken,
    "unreachable": unreachable,
    "keyless": keyless,
    "storeless": storeless,
    "stopping": stopping,
    "without files": without_files,
    "cancelling": cancelling,
}
