"""Clients with their default limits, and how they see a failure."""

from __future__ import annotations

import asyncio
import base64
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import grpc
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from gemini_backend_client.connection.status import error_from
from tests.support.servers.foreign_mocks import grpc_js
from tests.support.servers.process import clean_environ

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable


Entries = tuple[tuple[str, str | bytes], ...]
PRINTABLE = "".join(chr(byte) for byte in range(0x20, 0x7F) if chr(byte) != "%")


@dataclass(frozen=True)
class Rpc:
    """One call: where, what, for how long (None for no deadline), and with which API key."""

    path: str
    data: bytes
    stream: bool
    seconds: float | None
    key: str = ""


@dataclass(frozen=True)
class Seen:
    """How a client saw a call end."""

    code: int
    message: str
    initial: Entries
    trailers: Entries
    typed: str = ""

    @property
    def status(self) -> Status:
        """Return the status in the details."""
        data = dict(self.trailers).get("grpc-status-details-bin", b"")
        assert isinstance(data, bytes)
        return Status.FromString(data)

    @property
    def info(self) -> ErrorInfo:
        """Return the reason, with its domain."""
        found = [one for one in self.status.details if one.Is(ErrorInfo.DESCRIPTOR)]
        assert found, f"no ErrorInfo: {self.code} {self.message}"
        return ErrorInfo.FromString(found[0].value)

    @property
    def pushback(self) -> int | None:
        """Return the milliseconds to wait before a retry; None where there is nothing of it."""
        text = dict(self.trailers).get("grpc-retry-pushback-ms")
        return None if text is None else int(text)

    @property
    def metadata_bytes(self) -> int:
        """Return what all metadata took on the wire, as gRPC counts it."""
        own: Entries = (("grpc-status", str(self.code)), ("content-type", "application/grpc"))
        said = len("grpc-message") + len(quote(self.message, safe=PRINTABLE)) + 32
        return said + sum(_size(*entry) for entry in (*self.initial, *self.trailers, *own))


def _size(key: str, value: str | bytes) -> int:
    raw = value.encode() if isinstance(value, str) else base64.b64encode(value)
    return len(key) + len(raw) + 32


async def ask_python(target: str, rpc: Rpc) -> Seen:
    """Make a call that has to fail with grpc.aio; the shipped client says which error it is."""
    async with grpc.aio.insecure_channel(target) as channel:
        make = channel.unary_stream if rpc.stream else channel.unary_unary
        method: Any = make(rpc.path, request_serializer=bytes, response_deserializer=bytes)
        metadata = (("x-api-key", rpc.key),) if rpc.key else ()
        call = method(rpc.data, timeout=rpc.seconds, metadata=metadata)
        try:
            if rpc.stream:
                async for _ in call:
                    pass
            else:
                await call
        except grpc.aio.AioRpcError as failed:
            typed = error_from(failed, target, rpc.seconds)
            return Seen(
                failed.code().value[0],
                failed.details() or "",
                _entries(await call.initial_metadata()),
                _entries(failed.trailing_metadata()),
                typed.reason,
            )
    raise AssertionError(f"{rpc.path} did not fail")


def _entries(metadata: Iterable[tuple[str, str | bytes]] | None) -> Entries:
    return tuple((key, value) for key, value in metadata or ())


class GrpcJs:
    """Calls made by @grpc/grpc-js, in a process of Node's."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        """Speak to this process."""
        self._process = process
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}

    async def ask(self, target: str, rpc: Rpc) -> Seen:
        """Make a call that has to fail."""
        number = len(self._waiting)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        asked = {
            "id": number,
            "target": target,
            "path": rpc.path,
            "request": base64.b64encode(rpc.data).decode(),
            "seconds": rpc.seconds,
            "stream": rpc.stream,
            "key": rpc.key,
        }
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asked).encode() + b"\n")
        await self._process.stdin.drain()
        told = await asyncio.wait_for(answer, 60)
        return Seen(told["code"], told["details"], _read(told["initial"]), _read(told["trailers"]))

    async def listen(self) -> None:
        """Take what it tells until it ends."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            told = json.loads(line)
            self._waiting[told["id"]].set_result(told)


def _read(entries: list[tuple[str, str, bool]]) -> Entries:
    return tuple(
        (key, base64.b64decode(value) if binary else value) for key, value, binary in entries
    )


@asynccontextmanager
async def running_grpc_js() -> AsyncIterator[GrpcJs]:
    """Run Node's client until the scope ends."""
    pipe = asyncio.subprocess.PIPE
    command = await asyncio.to_thread(grpc_js, "grpc_js.mjs")
    process = await asyncio.create_subprocess_exec(
        *command, stdin=pipe, stdout=pipe, env=clean_environ(), limit=1 << 20
    )
    assert process.stdout is not None
    assert process.stdin is not None
    assert b"ready grpc-js\n" == await asyncio.wait_for(process.stdout.readline(), 20)
    client = GrpcJs(process)
    listening = asyncio.create_task(client.listen())
    try:
        yield client
    finally:
        process.kill()
        await process.wait()
        await listening
