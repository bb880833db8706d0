"""Callers that speak HTTP/2 by hand, over sockets of their own."""

from __future__ import annotations

import asyncio
import re
import struct
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gemini.backend.v1 import execute_service_pb2 as pb
from tests.support import http2_frames as h2

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

EXECUTE = "/gemini.backend.v1.ExecuteService/Execute"
PROMPT = pb.ExecuteRequest(prompt="hi").SerializeToString()


@dataclass
class RawCaller:
    """One connection; what the server sends is kept, up to a megabyte."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    got: bytearray = field(default_factory=bytearray)
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    async def read(self) -> None:
        """Read until the server closes."""
        with suppress(OSError):
            while data := await self.reader.read(65_536):
                if len(self.got) < 1 << 20:
                    self.got += data
        self.closed.set()

    async def send(self, data: bytes) -> None:
        """Send; wait until it has left.

        Raises:
            OSError: the server has closed the connection.
        """
        self.writer.write(data)
        async with asyncio.timeout(10):
            await self.writer.drain()

    async def gone(self, seconds: float) -> bool:
        """Return whether the server closes the connection within so many seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.closed.wait()
        return self.closed.is_set()

    def frames(self, kind: int) -> list[tuple[int, bytes]]:
        """Return the stream and the payload of each frame of a kind that has come."""
        found, at = [], 0
        while at + 9 <= len(self.got):
            length = int.from_bytes(self.got[at : at + 3], "big")
            (stream,) = struct.unpack(">I", self.got[at + 5 : at + 9])
            if self.got[at + 3] == kind:
                found.append((stream, bytes(self.got[at + 9 : at + 9 + length])))
            at += 9 + length
        return found


@asynccontextmanager
async def raw_caller(address: str, first: bytes | None = None) -> AsyncIterator[RawCaller]:
    """Connect to `HOST:PORT`, and send what a client of HTTP/2 begins with, or `first`."""
    host, _, port = address.rpartition(":")
    made = RawCaller(*await asyncio.open_connection(host, int(port)))
    reading = asyncio.ensure_future(made.read())
    made.writer.write(h2.opening() if first is None else first)
    try:
        yield made
    finally:
        made.writer.close()
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


def gauge(text: str, name: str) -> float:
    """Return the value of a metric without labels."""
    (found,) = re.findall(rf"^gemini_backend_{name} (\S+)$", text, re.MULTILINE)
    return float(found)
