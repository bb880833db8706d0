"""What a connection may lead to: model APIs by TLS, proxies, and worse."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import trustme

from gemini_backend.upstream.gemini.connection.dialing.origin import Origin
from tests.upstream.gemini.connection.test_proxy import pump

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from pathlib import Path

    from gemini_backend.upstream.gemini.connection.dialing.names import AddressInfo, Resolve

    Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

NAME = "api.test"


class Client(asyncio.Protocol):
    """The protocol of a connection that was dialed: sends lines, and waits for lines."""

    def __init__(self) -> None:
        self.made: list[asyncio.BaseTransport] = []
        self.heard: asyncio.Queue[bytes] = asyncio.Queue()
        self.lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.made.append(transport)

    def data_received(self, data: bytes) -> None:
        assert self.made
        self.heard.put_nowait(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()


async def asked(made: tuple[asyncio.Transport, Client], line: bytes = b"ping\n") -> bytes:
    """Send a line and return what comes back."""
    made[0].write(line)
    return await asyncio.wait_for(made[1].heard.get(), 5)


async def closed(made: tuple[asyncio.Transport, Client]) -> None:
    """Close a connection, and wait until it is gone."""
    made[0].abort()
    await asyncio.wait_for(made[1].lost.wait(), 5)


def authority(folder: Path) -> trustme.CA:
    """Return an authority whose certificate is in `ca.pem` of a folder."""
    made = trustme.CA()
    made.cert_pem.write_to_path(folder / "ca.pem")
    return made


def identity(issuer: trustme.CA, *names: str, **how: object) -> ssl.SSLContext:
    """Return the TLS of a server by these names."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    issuer.issue_cert(*names or (NAME,), **how).configure_cert(context)  # type: ignore[arg-type]
    return context


@asynccontextmanager
async def serving(talk: Talk, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Run a server; yield its port. It and its connections are gone afterwards."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            tasks.add(task)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
                await talk(reader, writer)
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await asyncio.sleep(0.02)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0.02)


class Echo:
    """Sends back each line, and counts the handshakes and those that took a session up again."""

    def __init__(self) -> None:
        self.resumed: list[bool] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        over = writer.get_extra_info("ssl_object")
        if over is not None:
            self.resumed.append(over.session_reused)
        while line := await reader.readline():
            writer.write(line)


class FakeProxy:
    """Answers the request for a tunnel, and then leads to a port of this machine."""

    def __init__(self, target: int, answer: bytes) -> None:
        self.heads: list[bytes] = []
        self.target = target
        self._answer = answer

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(self._answer)
        if self.target:
            far, forth = await asyncio.open_connection("127.0.0.1", self.target)
            try:
                await asyncio.gather(pump(reader, forth), pump(far, writer))
            finally:
                forth.transport.abort()
        else:
            await reader.read()


def leading_to(*addresses: str) -> Resolve:
    """Return a resolver that has these addresses for every name, whatever it is."""

    async def resolve(host: str, port: int) -> Sequence[AddressInfo]:
        return [
            (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port))
            for address in addresses
        ]

    return resolve


def origin(port: int, *, tls: bool = True, host: str = NAME) -> Origin:
    """Return an origin of this name."""
    return Origin(host, port, tls)
