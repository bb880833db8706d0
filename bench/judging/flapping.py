"""An upstream that comes and goes: a proxy that refuses and resets everything while it is down."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_RESET = struct.pack("ii", 1, 0)
_BYTES = 64 * 1024


class FlappingProxy:
    """Forwards connections to one address while it is up; while it is down nobody listens."""

    def __init__(self, target: str) -> None:
        """Forward to `target`, HOST:PORT."""
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self.port = 0

    async def up(self) -> None:
        """Accept connections, at the same port as before."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def down(self) -> None:
        """Refuse connections, and reset those that are open."""
        if self._server is not None:
            self._server.close()
        for writer in list(self._open):
            own: socket.socket = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            there, back = await asyncio.open_connection(*self._target)
            ways = [asyncio.create_task(_copy(*way)) for way in ((reader, back), (there, writer))]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
            back.close()
        finally:
            self._open.discard(writer)
            writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Forward one way until either side has gone, which is what the proxy is for."""
    with contextlib.suppress(OSError, RuntimeError):  # uvloop's word for a closed connection
        while not writer.is_closing() and (data := await reader.read(_BYTES)):
            writer.write(data)
            await writer.drain()


@contextlib.asynccontextmanager
async def flapping(target: str, up_seconds: float, down_seconds: float) -> AsyncIterator[str]:
    """Yields HOST:PORT of a proxy that is up and down by turns, up at first."""
    proxy = FlappingProxy(target)
    await proxy.up()

    async def flap() -> None:
        while True:
            await asyncio.sleep(up_seconds)
            proxy.down()
            await asyncio.sleep(down_seconds)
            await proxy.up()

    task = asyncio.create_task(flap())
    try:
        yield f"127.0.0.1:{proxy.port}"
    finally:
        task.cancel()
        proxy.down()
