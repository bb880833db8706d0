"""A wire between a client and a server that a test can break."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


class Wire:
    """Carries bytes both ways until it is broken; then every connection is reset."""

    def __init__(self, host: str, port: int) -> None:
        """Lead to this address."""
        self._to = (host, port)
        self._ends: set[asyncio.StreamWriter] = set()
        self.address = ""
        self.loses_next: int | None = None
        """Resets every connection in place of carrying so many bytes that the server sends."""

    def cut(self) -> None:
        """Reset every connection at both ends: neither says goodbye to the other."""
        for end in tuple(self._ends):
            end.transport.abort()

    async def carry(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        """Carry one connection to its end."""
        try:
            far, forth = await asyncio.open_connection(*self._to)
        except OSError:
            back.transport.abort()
            return
        self._ends |= {back, forth}
        try:
            await asyncio.gather(_pump(near, forth), _pump(far, back, self._loses))
        finally:
            for end in (back, forth):
                self._ends.discard(end)
                end.transport.abort()

    def _loses(self, data: bytes) -> bool:
        lost = self.loses_next is not None and len(data) >= self.loses_next
        if lost:
            self.loses_next = None
            self.cut()
        return lost


async def _pump(
    source: asyncio.StreamReader,
    sink: asyncio.StreamWriter,
    loses: Callable[[bytes], bool] = lambda _: False,
) -> None:
    with suppress(ConnectionError):
        while data := await source.read(65536):
            if loses(data):
                break
            sink.write(data)
            await sink.drain()
    sink.transport.abort()


@asynccontextmanager
async def wire_to(address: str) -> AsyncIterator[Wire]:
    """Lay a wire to `HOST:PORT`; its own address is `wire.address`."""
    host, _, port = address.rpartition(":")
    wire = Wire(host, int(port))
    running: set[asyncio.Task[None]] = set()

    async def accept(near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        with suppress(asyncio.CancelledError):
            await wire.carry(near, back)
        running.discard(task)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    wire.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield wire
    finally:
        server.close()
        wire.cut()
        for task in tuple(running):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
