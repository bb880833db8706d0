"""What a test asks of an upstream, and upstreams of its own that misbehave."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

import aiohttp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.support.servers.process import Process

T = TypeVar("T")


async def stats_of(simulator: Process) -> dict[str, Any]:
    """Return a simulator's counts; the connection of this very question is one of them."""
    url = f"{simulator.http}/_simulator/stats"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        found: dict[str, Any] = await answer.json()
        return found


async def until(
    look: Callable[[], Awaitable[T]], good: Callable[[T], bool], seconds: float = 5.0
) -> T:
    """Look again and again until it is good; return what was seen last.

    Raises:
        AssertionError: it has not become good within `seconds`.
    """
    end = time.monotonic() + seconds
    while True:
        seen = await look()
        if good(seen):
            return seen
        assert time.monotonic() < end, f"not within {seconds:g} s: {seen}"
        await asyncio.sleep(0.02)


PIECE = (
    b'data: {"candidates":[{"content":{"parts":[{"text":"%s"}],"role":"model"},"index":0}],'
    b'"modelVersion":"test-1","responseId":"r1"}\r\n\r\n'
)
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"


class Drip:
    """A model API that sends one piece and then nothing; tells when it is asked, and left.

    It takes connections itself, so that the moment at which one is closed is known.
    """

    def __init__(self) -> None:
        """Have no address yet."""
        self.url = ""
        self.mute = False
        self.arrived: asyncio.Queue[float] = asyncio.Queue()
        self.left: asyncio.Queue[float] = asyncio.Queue()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request, then wait until the connection is closed."""
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"GET"):  # the list of models
            writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            return
        try:
            self.arrived.put_nowait(time.monotonic())
            if not self.mute:
                writer.write(_HEAD + PIECE % b"drip")
            while await reader.read(65536):
                pass  # the request's body
        finally:
            self.left.put_nowait(time.monotonic())


class Flood:
    """A model API that sends as fast as it is read, without end; counts what was taken."""

    def __init__(self) -> None:
        """Have no address yet."""
        self.url = ""
        self.taken = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request for ever."""
        piece = PIECE % (b"x" * 8192)
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.set_write_buffer_limits(high=65536)
        writer.write(_HEAD)
        while True:
            writer.write(piece)
            await writer.drain()
            self.taken += len(piece)


@asynccontextmanager
async def drip() -> AsyncIterator[Drip]:
    """Run a `Drip` on a free port."""
    made = Drip()
    async with listening(made.serve) as made.url:
        yield made


@asynccontextmanager
async def flood() -> AsyncIterator[Flood]:
    """Run a `Flood` on a free port."""
    made = Flood()
    async with listening(made.serve) as made.url:
        yield made


@asynccontextmanager
async def listening(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    """Serve connections on a free port; yield its address, and leave nothing open behind."""
    running: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await serve(reader, writer)
        writer.close()
        with suppress(ConnectionError, asyncio.CancelledError):
            await writer.wait_closed()
        running.discard(task)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
