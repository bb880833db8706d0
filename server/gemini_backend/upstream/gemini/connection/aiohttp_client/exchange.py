"""One request and its answer, on one of aiohttp's connections."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp

from gemini_backend.upstream.gemini.connection.exchange import Exchange
from gemini_backend.upstream.gemini.connection.stream_tap import broken_off

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini_backend.upstream.gemini.connection.aiohttp_client.lease import Lease


class AiohttpExchange(Exchange):
    """One request that has got the head of its answer."""

    __slots__ = ("_ahead", "_leave", "_response", "_tap", "_transport")

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        lease: Lease,
        leave: Callable[[AiohttpExchange], bool],
    ) -> None:
        """Hold a response until it is closed; `leave` is told, and says if it had not been."""
        self._ahead = b""  # has been put back, and is to be read again
        self._leave = leave
        self._response = response
        self._transport = lease.transport
        self._tap = lease.tap
        self.status = response.status
        self.content_type = self.header("Content-Type")

    def header(self, name: str) -> str:
        """Return a header of the answer, empty where it is not there."""
        found = self._response.headers.get(name, "")
        # what is not UTF-8 is replaced: it may be told to a caller, in a message of the contract
        return found.encode(errors="surrogateescape").decode(errors="replace")

    @property
    def in_mid_chunk(self) -> bool:
        """Whether the framing may have announced bytes that have not come."""
        if self._tap is not None:
            return self._tap.in_mid_chunk
        headers = self._response.headers  # with neither of these a body ends with its connection
        return "Content-Length" in headers or "Transfer-Encoding" in headers

    @property
    def drained(self) -> bool:
        """Whether the body is known to be whole, and has been read to its end."""
        return self._tap is not None and self._tap.drained

    @property
    def at_hand(self) -> bool:
        """Whether `read` is known to return without a wait."""
        return bool(self._ahead) or (self._tap is not None and self._tap.at_hand)

    async def read(self) -> bytes:
        """Return what has come of the body; empty at its end.

        Raises:
            StreamCut: the connection broke off before the end.
        """
        if self._tap is not None:
            return await self._tap.read()
        if self._ahead:
            ahead, self._ahead = self._ahead, b""
            return ahead
        try:
            return await self._response.content.readany()
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # ValueError: a chunk or a compressed block that cannot be unpacked
            raise broken_off(type(error).__name__, error.__cause__) from None

    def put_back(self, piece: bytes) -> None:
        """Take back what was read last, to be read again."""
        if self._tap is not None:
            self._tap.put_back(piece)
        else:
            self._ahead = piece

    def close(self) -> None:
        """Give the connection up; it is closed at once unless the answer was read to its end."""
        if self._leave(self) and self._response.connection is not None:
            self._response.close()
            if self._transport is not None:
                self._transport.abort()
