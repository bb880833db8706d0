"""One request and its answer, as the rest of the upstream sees them, and who sends it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import nullcontext
from typing import TYPE_CHECKING, Protocol

from gemini_backend.errors import AnswerTooLarge, StreamCut
from gemini_backend.upstream.gemini.body import is_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractAsyncContextManager

    from yarl import URL


class Transport(Protocol):
    """A way to the model API; made without connections, which come with the first requests."""

    async def send(
        self,
        method: str,
        url: URL,
        headers: Mapping[str, str],
        body: bytes | None,
        connect_timeout: float,
    ) -> Exchange:
        """Send a request and wait for the head of its answer.

        Where a kept-alive connection turns out to be of no use, a fresh one replaces it, once: the
        other side had closed it or timed it out, or something had come on it that nobody asked for.
        In each case the request had not been carried out.

        Args:
            method: GET or POST.
            url: Where to; redirects are not followed.
            headers: What the request has beside Host, User-Agent and Content-Length.
            body: The request's body, None for none.
            connect_timeout: Seconds that may pass until there is a connection.

        Raises:
            Unreachable, ConnectTimeout, MalformedAnswer, AnswerTooLarge, OutOfDescriptors: no
                answer came.
        """
        ...

    def connections(self) -> int:
        """Return how many requests are under way."""
        ...

    async def aclose(self) -> None:
        """Close every connection, whatever it is doing."""
        ...


class Exchange(ABC):
    """One request that has got the head of its answer.

    Attributes:
        status: The status of the answer.
        content_type: Its header `Content-Type`, empty where it is not there.
    """

    __slots__ = ("content_type", "status")

    status: int
    content_type: str

    @abstractmethod
    def header(self, name: str) -> str:
        """Return a header of the answer, empty where it is not there."""

    @property
    @abstractmethod
    def in_mid_chunk(self) -> bool:
        """Whether the framing may have announced bytes that have not come."""

    @property
    @abstractmethod
    def drained(self) -> bool:
        """Whether the body is known to be whole, and has been read to its end."""

    @property
    @abstractmethod
    def at_hand(self) -> bool:
        """Whether `read` is known to return without a wait."""

    @abstractmethod
    async def read(self) -> bytes:
        """Return what has come of the body; empty at its end.

        Raises:
            StreamCut: the connection broke off before the end.
        """

    @abstractmethod
    def put_back(self, piece: bytes) -> None:
        """Take back what was read last, to be read again."""

    @abstractmethod
    def close(self) -> None:
        """Give the connection up; it is closed at once unless the answer was read to its end."""

    def at_once(self, _limit: int) -> bytes | None:
        """Return what `body` would, where that is known to take no wait; None where it is not."""
        return None

    async def is_page(self) -> bool:
        """Tell whether the body is empty, or begins like a page; it is still there to be read.

        Raises:
            StreamCut: the connection broke off before its first byte.
        """
        ahead = await self.read()
        if not ahead:
            return True
        self.put_back(ahead)
        return ahead.lstrip().startswith(b"<")

    async def body(
        self,
        limit: int,
        patience: Callable[[], AbstractAsyncContextManager[object]] = nullcontext,
        read: Callable[[int], None] | None = None,
    ) -> bytes:
        """Return the whole body; each wait for a piece of it stands in a scope of `patience`.

        `read` is told how many bytes there are, after each piece. JSON that is whole is not lost
        where the connection then breaks off, or stays open.

        Raises:
            TimeoutError: out of such a scope.
            AnswerTooLarge: it is larger than `limit` bytes, unpacked.
            StreamCut: the connection broke off before the end.
        """
        pieces: list[bytes] = []
        size = 0
        while not self.drained:
            try:
                if self.at_hand:
                    piece = await self.read()
                else:
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
            if read is not None:
                read(size)
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
