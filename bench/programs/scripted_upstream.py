"""A fake Gemini within this process, for what must be seen from both ends on one clock.

The model's name says what becomes of a request:

    bench-silent    no answer
    bench-head      the head of a stream, and no event
    bench-ticking   an event every 20 ms, without an end
    bench-flood     events of 2 KB, as fast as they are read, without an end
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

TICK_SECONDS = 0.02
FLOOD_EVENTS, FLOOD_TEXT = 20, "x" * 2000
_REQUEST = re.compile(rb"^\w+ /v1beta/models/?([\w.-]*)")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_NUMBER = re.compile(rb"river (\d+)")
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_NO_MODELS = (
    b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 14\r\n\r\n{"models": []}'
)


def chunk(text: str, times: int = 1) -> bytes:
    """Returns as many events of that text, as a chunk of HTTP/1.1."""
    content = {"parts": [{"text": text}], "role": "model"}
    answer = {"candidates": [{"content": content, "index": 0}], "modelVersion": "bench"}
    event = f"data: {json.dumps(answer)}\r\n\r\n".encode()
    return b"%x\r\n%b\r\n" % (len(event) * times, event * times)


class ScriptedUpstream:
    """Serves on a free port of 127.0.0.1, and tells when each request came and was given up.

    Attributes:
        asked: by the number in the prompt ("river 17"): set when the request is there.
        closed: by that number: when the connection was closed, as `time.perf_counter` tells it.
    """

    def __init__(self) -> None:
        """Prepare; the port is opened by `async with`."""
        self.asked: defaultdict[int, asyncio.Event] = defaultdict(asyncio.Event)
        self.closed: defaultdict[int, asyncio.Future[float]] = defaultdict(
            lambda: asyncio.get_running_loop().create_future()
        )
        self._server: asyncio.Server | None = None
        self.address = ""

    async def __aenter__(self) -> Self:
        """Open the port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()[:2]
        self.address = f"{host}:{port}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the port; what is open ends with its connection."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number: int | None = None
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = _LENGTH.search(head)
                body = await reader.readexactly(int(length[1]) if length else 0)
                asked, named = _REQUEST.match(head), _NUMBER.search(body)
                if not asked or not named:
                    writer.write(_NO_MODELS)
                    continue
                number = int(named[1])
                self.asked[number].set()
                await self._answer(asked[1].decode(), reader, writer)
                break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the end of every request, since none is answered to its end
        finally:
            if number is not None:
                self.closed[number].set_result(time.perf_counter())
            writer.close()

    async def _answer(
        self, model: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Return when the caller has closed the connection."""
        if model == "bench-silent":
            await reader.read()
            return
        writer.write(_HEAD)
        writing = asyncio.ensure_future(_WRITING[model](writer))
        try:
            await reader.read()
        finally:
            writing.cancel()


async def _nothing(_writer: asyncio.StreamWriter) -> None:
    """Leave it at the head."""


async def _tick(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(chunk("tick "))
        await asyncio.sleep(TICK_SECONDS)


async def _flood(writer: asyncio.StreamWriter) -> None:
    piece = chunk(FLOOD_TEXT, FLOOD_EVENTS)
    while True:
        writer.write(piece)
        await writer.drain()


_WRITING = {"bench-head": _nothing, "bench-ticking": _tick, "bench-flood": _flood}
