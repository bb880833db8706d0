"""Floods of HTTP/2 frames: others are served, memory stays bounded, the server lives on."""

from __future__ import annotations

import asyncio
import os
import struct
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from gemini.backend.v1 import execute_service_pb2 as pb
from tests.e2e.hardening.raw_callers import EXECUTE, PROMPT, raw_caller
from tests.support import http2_frames as h2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.e2e.hardening.raw_callers import RawCaller
    from tests.support.servers.process import Process

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECONDS = float(os.environ.get("ATTACK_SECONDS", "1.5"))
SLOWEST_SECONDS = 2.0
MOST_MIB = 120
REQUEST = h2.request(EXECUTE)


def rapid_resets() -> Iterator[bytes]:
    """Begin calls and cancel them at once (CVE-2023-44487)."""
    for first in range(1, 1 << 30, 200):
        yield b"".join(
            h2.headers(stream, REQUEST) + h2.message(stream, PROMPT) + h2.reset(stream)
            for stream in range(first, first + 200, 2)
        )


def bare_resets() -> Iterator[bytes]:
    """The same without a request."""
    for first in range(1, 1 << 30, 200):
        yield b"".join(
            h2.headers(stream, REQUEST) + h2.reset(stream)
            for stream in range(first, first + 200, 2)
        )


def open_streams() -> Iterator[bytes]:
    """Begin calls, and never send their requests."""
    for first in range(1, 1 << 30, 200):
        yield b"".join(h2.headers(stream, REQUEST) for stream in range(first, first + 200, 2))


def endless_headers() -> Iterator[bytes]:
    """Headers that never end (CVE-2024-27316)."""
    yield h2.headers(1, REQUEST, whole=False)
    more = h2.frame(h2.CONTINUATION, h2.block({"x-more": "y" * 1000}), stream=1)
    while True:
        yield more * 20


def empty_continuations() -> Iterator[bytes]:
    """Continuations of headers that have nothing in them."""
    yield h2.headers(1, REQUEST, whole=False)
    while True:
        yield h2.frame(h2.CONTINUATION, stream=1) * 500


def empty_data() -> Iterator[bytes]:
    """A request in pieces that have nothing in them (CVE-2019-9518)."""
    yield h2.headers(1, REQUEST)
    while True:
        yield h2.frame(h2.DATA, stream=1) * 500


def repeated(one: bytes) -> Callable[[], Iterator[bytes]]:
    """Return a flood of one frame."""

    def flood() -> Iterator[bytes]:
        while True:
            yield one * 500

    return flood


FLOODS: dict[str, Callable[[], Iterator[bytes]]] = {
    "rapid resets": rapid_resets,
    "bare resets": bare_resets,
    "open streams": open_streams,
    "endless headers": endless_headers,
    "empty continuations": empty_continuations,
    "empty data": empty_data,
    "pings": repeated(h2.frame(h2.PING, b"12345678")),  # CVE-2019-9512
    "settings": repeated(h2.settings({h2.INITIAL_WINDOW_SIZE: 65_535})),  # CVE-2019-9515
    "priorities": repeated(h2.frame(2, struct.pack(">IB", 0, 1), stream=5)),  # CVE-2019-9513
    "windows": repeated(h2.frame(h2.WINDOW_UPDATE, struct.pack(">I", 1))),
    "resets of nothing": repeated(h2.reset(1)),
    "unknown frames": repeated(h2.frame(200, b"x" * 100)),
}


async def pour(address: str, flood: Callable[[], Iterator[bytes]]) -> None:
    """Send a flood; connect again, with a new one, as often as the server closes."""
    while True:
        with suppress(OSError, TimeoutError):
            async with raw_caller(address) as caller:
                await _pour(caller, flood())
        await asyncio.sleep(0.01)


async def _pour(caller: RawCaller, pieces: Iterator[bytes]) -> None:
    for piece in pieces:
        await caller.send(piece)
        if caller.closed.is_set():
            return
        await asyncio.sleep(0.005)


@pytest.mark.parametrize("name", FLOODS)
async def test_others_are_served(server: Process, stub: Any, name: str) -> None:
    """While one connection floods the server, another caller's calls are answered in time."""
    before, slowest = server.resident_kib(), 0.0
    pouring = asyncio.ensure_future(pour(server.grpc, FLOODS[name]))
    end = time.monotonic() + SECONDS
    try:
        while time.monotonic() < end:
            began = time.monotonic()
            answer = await stub.Process(pb.ProcessRequest(prompt="hi"), timeout=10)
            slowest = max(slowest, time.monotonic() - began)
            assert answer.candidates
            await asyncio.sleep(0.02)
        grown = (server.resident_kib() - before) / 1024
    finally:
        pouring.cancel()
        await asyncio.gather(pouring, return_exceptions=True)
    assert slowest < SLOWEST_SECONDS
    assert grown < MOST_MIB
    assert (await stub.Process(pb.ProcessRequest(prompt="hi"), timeout=10)).candidates
    assert server.process.returncode is None
