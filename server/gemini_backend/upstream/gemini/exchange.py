"""One request and its answer, on one connection."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

import aiohttp

from gemini_backend.errors import AnswerTooLarge, StreamCut
from gemini_backend.upstream.gemini.tap import TappedHandler

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from gemini_backend.upstream.gemini.pool import Lease


class Exchange:
    """One request that has got the head of its answer."""

    __slots__ = ("_leave", "_read", "_response", "_transport", "content_type", "status")

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        lease: Lease,
        leave: Callable[[Exchange], bool],
    ) -> None:
        """Hold a response until it is closed; `leave` is told, and says if it had not been."""
        self._leave = leave
        self._response = response
        self._transport = lease.transport
        tap = lease.handler.tap if isinstance(lease.handler, TappedHandler) else None
        self._read = response.content.readany if tap is None else tap.read
        self.status = response.status
        self.content_type = response.headers.get("Content-Type", "")

    def header(self, name: str) -> str:
        """Return a header of the answer, empty where it is not there."""
        return self._response.headers.get(name, "")

    async def read(self) -> bytes:
        """Return what has come of the body; empty at its end.

        Raises:
            StreamCut: the connection broke off before the end.
        """
        try:
            return await self._read()
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # ValueError: a chunk or a compressed block that cannot be unpacked
            name = type(error).__name__
            msg = f"the connection to the model API broke off in mid-answer ({name}); try again"
            raise StreamCut(msg) from None

    async def body(
        self, limit: int, patience: Callable[[], AbstractAsyncContextManager[object]] = nullcontext
    ) -> bytes:
        """Return the whole body; each wait for a piece of it stands in a scope of `patience`.

        Raises:
            TimeoutError: out of such a scope.
            AnswerTooLarge: it is larger than `limit` bytes, unpacked.
            StreamCut: the connection broke off before the end.
        """
        pieces: list[bytes] = []
        size = 0
        while True:
            async with patience():
                piece = await self.read()
            if not piece:
                break
            size += len(piece)
            if size > limit:
                msg = (
                    f"the answer is larger than {limit} bytes; ask for less, or raise "
                    "upstream.gemini.max_body_bytes"
                )
                raise AnswerTooLarge(msg)
            pieces.append(piece)
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
