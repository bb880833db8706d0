"""One request and its answer, on one connection."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

import aiohttp

from gemini_backend.errors import AnswerTooLarge, StreamCut
from gemini_backend.upstream.gemini.body import is_whole
from gemini_backend.upstream.gemini.connection.sockets import path_died

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from gemini_backend.upstream.gemini.connection.lease import Lease


class Exchange:
    """One request that has got the head of its answer."""

    __slots__ = (
        "_ahead",
        "_leave",
        "_read",
        "_response",
        "_tap",
        "_transport",
        "content_type",
        "status",
    )

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        lease: Lease,
        leave: Callable[[Exchange], bool],
    ) -> None:
        """Hold a response until it is closed; `leave` is told, and says if it had not been."""
        self._ahead = b""  # has been looked at, and is to be read yet
        self._leave = leave
        self._response = response
        self._transport = lease.transport
        self._tap = tap = lease.tap
        self._read = response.content.readany if tap is None else tap.read
        self.status = response.status
        self.content_type = response.headers.get("Content-Type", "")

    def header(self, name: str) -> str:
        """Return a header of the answer, empty where it is not there."""
        return self._response.headers.get(name, "")

    @property
    def in_mid_chunk(self) -> bool:
        """Whether the framing may have announced bytes that have not come."""
        if self._tap is not None:
            return self._tap.in_mid_chunk
        headers = self._response.headers  # with neither of these a body ends with its connection
        return "Content-Length" in headers or "Transfer-Encoding" in headers

    async def read(self) -> bytes:
        """Return what has come of the body; empty at its end.

        Raises:
            StreamCut: the connection broke off before the end.
        """
        if self._ahead:
            ahead, self._ahead = self._ahead, b""
            return ahead
        try:
            return await self._read()
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # ValueError: a chunk or a compressed block that cannot be unpacked
            if path_died(error.__cause__):
                raise StreamCut(
                    "the connection to the model API was lost during the answer: no TCP keepalive "
                    "probe was answered within upstream.gemini.tcp_keepalive_time_seconds and "
                    ".tcp_keepalive_timeout_seconds; retry"
                ) from None
            name = type(error).__name__
            msg = f"the connection to the model API broke off during the answer ({name}); retry"
            raise StreamCut(msg) from None

    async def is_page(self) -> bool:
        """Tell whether the body is empty, or begins like a page; it is still there to be read.

        Raises:
            StreamCut: the connection broke off before its first byte.
        """
        self._ahead = await self.read()
        return not self._ahead or self._ahead.lstrip().startswith(b"<")

    async def body(
        self, limit: int, patience: Callable[[], AbstractAsyncContextManager[object]] = nullcontext
    ) -> bytes:
        """Return the whole body; each wait for a piece of it stands in a scope of `patience`.

        JSON that is whole is not lost where the connection then breaks off, or stays open.

        Raises:
            TimeoutError: out of such a scope.
            AnswerTooLarge: it is larger than `limit` bytes, unpacked.
            StreamCut: the connection broke off before the end.
        """
        pieces: list[bytes] = []
        size = 0
        while True:
            try:
                async with patience():
                    piece = await self.read()
            except (StreamCut, TimeoutError):
                if not is_whole(pieces):
                    raise
                break
            if not piece:
                break
            size += len(piece)
            if size > limit:
                msg = (
                    f"the answer is larger than {limit} bytes; request smaller answers, or raise "
                    "upstream.gemini.max_body_bytes"
                )
                raise AnswerTooLarge(msg)
            pieces.append(piece)
            if self._tap is not None and self._tap.drained:
                break
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def beginning(self, limit: int) -> bytes:
        """Return at most `limit` bytes of the body, whatever comes after or breaks off."""
        found = b""
        try:
            while len(found) < limit and (piece := await self.read()):
                found += piece
        except StreamCut:
            pass  # what came is what there is to look at
        return found[:limit]

    def close(self) -> None:
        """Give the connection up; it is closed at once unless the answer was read to its end."""
        if self._leave(self) and self._response.connection is not None:
            self._response.close()
            if self._transport is not None:
                self._transport.abort()
