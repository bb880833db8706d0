"""A tunnel through a proxy, by CONNECT."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, cast

from gemini_backend.sizes import KIB

if TYPE_CHECKING:
    from gemini_backend.upstream.gemini.connection.proxy import Proxy

_HEAD_LIMIT = 64 * KIB
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})[ \r\n]")
_BEGINNING = b"HTTP/1."
_LONGEST_END = 4
_INFORMATIONAL = range(100, 200)
_SUCCESS = range(200, 300)


class NoTunnel(Exception):
    """A proxy opened no tunnel; says why, in words about the proxy."""

    def __init__(self, why: str, status: int = 0) -> None:
        """Tell why, and the HTTP status that the proxy refused it with; 0 for none."""
        super().__init__(why)
        self.status = status


class Tunnel(asyncio.Protocol):
    """The connection to a proxy until the tunnel is there."""

    def __init__(self) -> None:
        """Begin unconnected."""
        self._answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._transport: asyncio.Transport | None = None
        self._seen = bytearray()
        self._size = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Get to know the connection."""
        self._transport = cast("asyncio.Transport", transport)

    async def open(self, authority: str, proxy: Proxy) -> None:
        """Ask for a tunnel to a host and port; nothing is read of the connection afterwards.

        Raises:
            NoTunnel: there is none.
        """
        transport = self._transport
        if transport is None:
            msg = "it closed the connection before it could be asked"
            raise NoTunnel(msg)
        head = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}"]
        if proxy.authorization:
            head.append(f"Proxy-Authorization: {proxy.authorization}")
        transport.write("\r\n".join([*head, "User-Agent: gemini-backend", "", ""]).encode())
        await self._answer

    def data_received(self, data: bytes) -> None:
        """Read the head of the answer, and of informational ones before it."""
        if self._answer.done():
            return
        self._size += len(data)
        if self._size > _HEAD_LIMIT:
            self._fail(f"the head of its answer has more than {_HEAD_LIMIT} bytes")
        unsearched = max(0, len(self._seen) - _LONGEST_END)
        # empty lines before an answer mean nothing
        self._seen += data if self._seen else data.lstrip(b"\r\n")
        while not self._answer.done():
            found = _HEAD_END.search(self._seen, unsearched)
            if not self._seen.startswith(_BEGINNING[: len(self._seen)]):
                self._fail("it does not speak HTTP/1.1 as it should")
            if found is None:
                break
            self._read(bytes(self._seen[: found.end()]), rest=len(self._seen) > found.end())
            del self._seen[: found.end()]
            unsearched = 0

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """End the wait for an answer."""
        self._transport = None
        self._fail("it closed the connection without an answer")

    def _read(self, head: bytes, *, rest: bool) -> None:
        status = _STATUS.match(head)
        if status is None:
            self._fail("it does not speak HTTP/1.1 as it should")
            return
        number = int(status[1])
        if number in _INFORMATIONAL or self._answer.done():
            return
        if self._transport is not None:
            self._transport.pause_reading()
        if number not in _SUCCESS:
            self._fail(f"it refuses the connection (HTTP {number})", number)
        elif rest:  # before TLS has begun, the far side has nothing to say
            self._fail("it answered with data of its own in place of a tunnel")
        else:
            self._answer.set_result(None)

    def _fail(self, why: str, status: int = 0) -> None:
        if not self._answer.done():
            self._answer.set_exception(NoTunnel(why, status))
            self._answer.exception()  # is not missed where nobody waits any more
