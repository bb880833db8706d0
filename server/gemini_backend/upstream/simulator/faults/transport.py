"""Sends an answer, and does to its bytes and its connection what the faults say."""

from __future__ import annotations

import asyncio
import socket
import struct
import zlib
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

from gemini_backend.upstream.simulator.faults.bodies import custom
from gemini_backend.upstream.simulator.wire import EVENT_END, encode, event

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from gemini_backend.upstream.simulator.faults.fault import Fault
    from gemini_backend.upstream.simulator.wire import Json

GARBAGE_BYTES = 64
SPLIT_BYTES = 7
_BEFORE_HEADERS = -1
_ENDING = ("stall", "reset", "cut", "cut_inside", "stream_error")
_AFTER = {"reset": _BEFORE_HEADERS}


class EndedError(Exception):
    """The connection is over before the answer is; ``response`` is what was begun, if anything."""


class Transmission:
    """One answer on its way.

    Args:
        request: What is answered.
        faults: What goes wrong.
        pause: How to wait, in seconds.
        sse: Whether events are framed as server-sent events; else as items of a JSON array.
        gap: Seconds between two events, if no fault says otherwise.
    """

    def __init__(
        self,
        request: web.BaseRequest,
        faults: Sequence[Fault],
        pause: Callable[[float], Awaitable[None]],
        *,
        sse: bool = True,
        gap: float = 0.0,
    ) -> None:
        """See the class."""
        self._request = request
        self._faults = {fault.fault: fault for fault in faults}
        self._pause = pause
        self._sse = sse
        delay = self._faults.get("chunk_delay")
        self._gap = gap if delay is None else _or(delay.seconds, 0.1)
        self._gzip = zlib.compressobj(wbits=31) if "gzip" in self._faults else None
        self.response = web.StreamResponse()
        self.sent = 0

    async def start(self, headers: Mapping[str, str], vary: Sequence[str]) -> None:
        """Sends the headers.

        Raises:
            EndedError: If a fault resets the connection before them.
        """
        if self._due("reset", _BEFORE_HEADERS):
            self.reset()
        self.response.headers.update(headers)
        for name in vary:
            self.response.headers.add("Vary", name)
        if self._gzip is not None:
            self.response.headers["Content-Encoding"] = "gzip"
        self.response.enable_chunked_encoding()
        await self.response.prepare(self._request)

    async def send(self, payload: Json) -> None:
        """Sends one event.

        Raises:
            EndedError: If a fault ends the connection.
        """
        if self.sent and self._gap:
            await self._pause(self._gap)
        data = self._framed(payload)
        if "comments" in self._faults:
            data = b": keep-alive" + EVENT_END + data
        if "line_feeds" in self._faults:
            data = data.replace(b"\r\n", b"\n")
        await self._end_if_due(data)
        garbage = self._faults.get("garbage")
        if garbage is not None and self._due("garbage", self.sent):
            await self.write(_garbage(garbage.bytes or GARBAGE_BYTES))
        await self._write_split(data)
        self.sent += 1

    async def whole(self, body: bytes) -> None:
        """Sends a body that is no stream; faults strike in the middle of it.

        Raises:
            EndedError: If a fault ends the connection.
        """
        if "garbage" in self._faults:
            body = _garbage(self._faults["garbage"].bytes or GARBAGE_BYTES)
        half = len(body) // 2
        ending = next((name for name in _ENDING[:4] if name in self._faults), "")
        if not ending:
            await self._write_split(body)
            return
        await self.write(body[:half])
        if ending == "stall":
            await self._forever()
        if ending == "reset":
            self.reset()
        self._close()

    async def finish(self) -> None:
        """Sends the end of the stream.

        Raises:
            EndedError: If a fault ends the connection.
        """
        if not self._sse:
            await self.write(b"]" if self.sent else b"[]")
        if self._gzip is not None:
            await self.response.write(self._gzip.flush())
        await self.response.write_eof()

    async def write(self, data: bytes) -> None:
        """Sends bytes as they are, compressed if a fault says so."""
        if self._gzip is not None:
            data = self._gzip.compress(data) + self._gzip.flush(zlib.Z_SYNC_FLUSH)
        await self.response.write(data)

    def reset(self) -> None:
        """Ends the connection with a TCP reset.

        Raises:
            EndedError: Always.
        """
        transport = self._request.transport
        if transport is not None:
            raw = transport.get_extra_info("socket")
            if raw is not None:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()
        raise EndedError

    def _framed(self, payload: Json) -> bytes:
        if not self._sse:
            return (b",\r\n" if self.sent else b"[") + encode(payload)
        if "multi_line" not in self._faults:
            return event(payload)
        lines = msgspec.json.format(encode(payload), indent=2).split(b"\n")
        return b"\r\n".join(b"data: " + line for line in lines) + EVENT_END

    async def _end_if_due(self, data: bytes) -> None:
        for name in _ENDING:
            if not self._due(name, self.sent):
                continue
            if name == "cut_inside":
                await self.write(data[: len(data) // 2])
            if name == "stall":
                await self._forever()
            if name == "reset":
                await self._flushed()
                self.reset()
            if name == "stream_error":
                await self._stream_error(self._faults[name])
            await self._end_cleanly()

    async def _stream_error(self, fault: Fault) -> None:
        body = custom(fault, "UNAVAILABLE").body()
        if fault.form == "raw":
            await self.write(msgspec.json.format(encode(body), indent=2) + b"\n")
        else:
            await self.write(self._framed(body))
            self.sent += 1

    async def _end_cleanly(self) -> None:
        if self._gzip is not None:
            await self.response.write(self._gzip.flush())
        await self.response.write_eof()
        raise EndedError

    async def _write_split(self, data: bytes) -> None:
        split = self._faults.get("split")
        if split is None:
            await self.write(data)
            return
        size = max(split.bytes or SPLIT_BYTES, 1)
        for at in range(0, len(data), size):
            await self.write(data[at : at + size])
            # A turn of the loop, so that each piece leaves as a packet of its own.
            await asyncio.sleep(0)

    async def _flushed(self) -> None:
        """Gives the last event time to leave: a reset drops what still waits in the kernel."""
        await asyncio.sleep(0.01)

    async def _forever(self) -> None:
        await asyncio.Event().wait()

    def _close(self) -> None:
        """Ends the connection in the middle of a body, without the end that was promised."""
        transport = self._request.transport
        if transport is not None:
            transport.close()
        raise EndedError

    def _due(self, name: str, sent: int) -> bool:
        fault = self._faults.get(name)
        return fault is not None and _or(fault.after, _AFTER.get(name, 1)) == sent


def _or(value: float | None, default: float) -> float:
    return default if value is None else value


def _garbage(size: int) -> bytes:
    """Bytes that are neither UTF-8 nor an event."""
    return (bytes((0xFF, 0x00, 0xC3, 0x28, 0x7B, 0x0A, 0xFE, 0x22)) * (size // 8 + 1))[:size]
