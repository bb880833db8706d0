"""What a proxy may answer to a request for a tunnel."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gemini_backend.upstream.gemini.connection.dialing.tunnel import NoTunnel, Tunnel
from gemini_backend.upstream.gemini.connection.proxy import Proxy
from tests.support.clock import settle

OK = b"HTTP/1.1 200 Connection established\r\n\r\n"


class Wire:
    """A transport that keeps what is written, and whether it is read."""

    def __init__(self) -> None:
        self.written = b""
        self.reading = True

    def write(self, data: bytes) -> None:
        self.written += data

    def pause_reading(self) -> None:
        self.reading = False


async def opening(
    *pieces: bytes, proxy: str = "http://proxy.test:3128"
) -> tuple[Tunnel, Any, Wire]:
    """Ask for a tunnel, and let the proxy answer in these pieces."""
    tunnel, wire = Tunnel(), Wire()
    tunnel.connection_made(wire)  # type: ignore[arg-type]
    asked = asyncio.create_task(tunnel.open("api.test:443", Proxy.of(proxy)))
    await settle()
    for piece in pieces:
        tunnel.data_received(piece)
    await settle()
    return tunnel, asked, wire


async def test_the_way_is_asked_for_with_the_proxys_password() -> None:
    """By host and port, and nothing else of the request."""
    _, asked, wire = await opening(OK, proxy="http://user:p%40ss@proxy.test:3128")
    await asked
    head, *headers = wire.written.decode().split("\r\n")
    assert "CONNECT api.test:443 HTTP/1.1" == head
    assert ["Host", "Proxy-Authorization", "User-Agent"] == [
        one.split(":")[0] for one in headers[:3]
    ]
    assert ["", ""] == headers[3:]


@pytest.mark.parametrize(
    "answer",
    [
        OK,
        b"\r\n" + OK,
        b"HTTP/1.0 200\r\n\r\n",
        b"HTTP/1.1 200 OK\nVia: a\n\n",
        b"HTTP/1.1 201 Created\r\nContent-Length: 12\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK,
    ],
)
@pytest.mark.parametrize("size", [1, 5, 1000])
async def test_any_success_opens_a_tunnel(answer: bytes, size: int) -> None:
    """In whatever pieces it comes; nothing is read of the connection from then on."""
    pieces = [answer[at : at + size] for at in range(0, len(answer), size)]
    _, asked, wire = await opening(*pieces)
    await asked
    assert not wire.reading


@pytest.mark.parametrize("status", [407, 403, 502, 302, 199 + 200])
async def test_any_other_status_is_a_refusal(status: int) -> None:
    """Whatever is behind its head is nobody's business."""
    answer = f"HTTP/1.1 {status} No\r\nContent-Length: 9999\r\n\r\n<html>".encode()
    _, asked, _ = await opening(answer)
    with pytest.raises(NoTunnel) as raised:
        await asked
    assert status == raised.value.status


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"<html>Please log in</html>", "does not speak HTTP/1.1"),
        (b"HTTP/2 200\r\n\r\n", "does not speak HTTP/1.1"),
        (b"HTTP/1.1 OK\r\n\r\n", "does not speak HTTP/1.1"),
        (b"HTTP/1.1 2000 OK\r\n\r\n", "does not speak HTTP/1.1"),
        (b"\x15\x03\x01\x00\x02\x02\x50", "does not speak HTTP/1.1"),
        (b"HTTP/1.1 200 OK\r\n" + b"X-More: more\r\n" * 5000, "more than 65536 bytes"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 5000, "more than 65536 bytes"),
        (b"\r\n" * 40_000, "more than 65536 bytes"),
    ],
)
@pytest.mark.parametrize("size", [1, 4096, 1_000_000])
async def test_what_is_no_answer_is_told(answer: bytes, words: str, size: int) -> None:
    """As soon as it is known; an endless one at a limit."""
    _, asked, _ = await opening(*(answer[at : at + size] for at in range(0, len(answer), size)))
    with pytest.raises(NoTunnel, match=words):
        await asked


@pytest.mark.parametrize(
    "answer",
    [OK + b"<html>Please log in</html>", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"],
)
async def test_what_comes_with_the_tunnel_is_not_the_far_sides(answer: bytes) -> None:
    """It has nothing to say before TLS has begun."""
    _, asked, _ = await opening(answer)
    with pytest.raises(NoTunnel, match="data of its own"):
        await asked


@pytest.mark.parametrize("before", [b"", b"HTTP/1.1 200 O"])
async def test_a_proxy_that_hangs_up_is_told(before: bytes) -> None:
    """Before its answer, and within."""
    tunnel, asked, _ = await opening(before)
    tunnel.connection_lost(None)
    with pytest.raises(NoTunnel, match="closed the connection"):
        await asked


async def test_a_proxy_that_is_gone_is_not_asked() -> None:
    """It may have hung up at once."""
    tunnel = Tunnel()
    tunnel.connection_lost(None)
    with pytest.raises(NoTunnel, match="closed the connection"):
        await tunnel.open("api.test:443", Proxy("http://proxy.test:1"))


async def test_an_answer_that_nobody_waits_for_is_dropped() -> None:
    """The caller has left in between."""
    tunnel, asked, _ = await opening()
    asked.cancel()
    await settle()
    tunnel.data_received(OK)
    tunnel.connection_lost(None)
    assert asked.cancelled()
