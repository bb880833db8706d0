"""One HTTP connection: what it is told of errors, and how long it may take to ask."""

from __future__ import annotations

import asyncio
import errno
import json
import socket
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from gemini_backend.telemetry.events import SILENT, Bus, ConnectionRefused
from gemini_backend.web.accepting import Admission
from gemini_backend.web.listener import WebListener
from tests.support.configs import load

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gemini_backend.config.network.listen import Listen

SECRET = "a value that was in a variable"
OWN = (b"aiohttp", b"ython", b"Traceback", b"ValueError", SECRET.encode())


@pytest.fixture
def refused() -> list[ConnectionRefused]:
    """Refusals, in the order in which they were published."""
    return []


@pytest.fixture
async def address(refused: list[ConnectionRefused]) -> AsyncIterator[Listen]:
    """Where a site is whose only page fails; a head may take 0.2 s."""

    async def fails(_request: web.Request) -> web.Response:
        raise ValueError(SECRET)

    site, bus = web.Application(), Bus()
    site.router.add_get("/", fails)
    bus.subscribe(ConnectionRefused, refused.append)
    environ = {
        "GEMINI_BACKEND_WEB__LISTEN": "127.0.0.1:0",
        "GEMINI_BACKEND_WEB__HEAD_TIMEOUT_SECONDS": "0.2",
        "GEMINI_BACKEND_WEB__MAX_CONNECTIONS_PER_PEER": "2",
    }
    listener = WebListener(site, Admission("web", load(None, environ).web, bus, lambda: None))
    yield await listener.start()
    await listener.aclose()


async def sent(address: Listen, data: bytes) -> bytes:
    """Send it; return all that comes back until the server closes."""
    reader, writer = await asyncio.open_connection(*address)
    writer.write(data)
    try:
        async with asyncio.timeout(5):
            return await reader.read()
    finally:
        writer.close()


async def test_a_failure_has_no_text_of_the_server(
    address: Listen, caplog: pytest.LogCaptureFixture
) -> None:
    """A page that fails is a bare 500; the log has where it failed, without values."""
    answer = await sent(address, b"GET / HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\n\r\n")
    assert (True, []) == (b" 500 " in answer, [own for own in OWN if own in answer])
    (line,) = [one for one in caplog.records if one.message == "page_failed"]
    assert "ValueError" == line.__dict__["error_type"]
    assert SECRET not in json.dumps(line.__dict__["frames"])


@pytest.mark.parametrize(
    "request_line",
    [
        b"\x16\x03\x01\x00\x05hello\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /a b HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n <script>alert(1)</script>\r\n\r\n",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 20_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: a\r\n" * 1000 + b"\r\n",
    ],
)
async def test_what_is_no_request_is_refused_without_being_quoted(
    address: Listen, refused: list[ConnectionRefused], request_line: bytes
) -> None:
    """The answer is the status alone: neither what was sent nor what the parser thinks of it."""
    answer = await sent(address, request_line)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert (True, b"400: bad request\n") == (b" 400 " in head.splitlines()[0], body)
    assert [] == [own for own in OWN if own in answer]
    assert ["malformed"] == [one.why for one in refused]


@pytest.mark.parametrize("head", [b"", b"GET / HTTP/1.1\r\nHost:"])
async def test_who_does_not_ask_is_cut_off(
    address: Listen, refused: list[ConnectionRefused], head: bytes
) -> None:
    """Nothing, or half of a head: the connection is closed after the time for heads."""
    assert b"" == await sent(address, head)
    assert ["slow"] == [one.why for one in refused]


async def test_one_peer_has_its_number_of_connections(
    address: Listen, refused: list[ConnectionRefused]
) -> None:
    """A connection too many is closed at once, and its place is free once another one ends."""
    held = [await asyncio.open_connection(*address) for _ in range(2)]
    assert b"" == await sent(address, b"")
    assert ["too_many_of_peer"] == [one.why for one in refused]
    held[0][1].close()
    held[1][1].close()
    await asyncio.sleep(0.05)
    assert b" 500 " in await sent(address, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")


async def test_who_takes_nothing_of_an_answer_is_cut_off() -> None:
    """An answer that its client does not read holds a connection for the time of a stall."""
    ended = asyncio.Event()

    async def large(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        try:
            for _ in range(1000):
                await answer.write(bytes(1 << 16))
        finally:
            ended.set()
        return answer

    site = web.Application()
    site.router.add_get("/", large)
    environ = {
        "GEMINI_BACKEND_WEB__LISTEN": "127.0.0.1:0",
        "GEMINI_BACKEND_WEB__STALL_TIMEOUT_SECONDS": "1",
    }
    listener = WebListener(site, Admission("web", load(None, environ).web, SILENT, lambda: None))
    address = await listener.start()
    with socket.create_connection(address) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(10):
            await ended.wait()
    await listener.aclose()
    assert ended.is_set()


async def test_an_error_that_lasts_keeps_nobody_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The loop goes on while the system refuses every connection for want of memory."""
    tries, most = 0, 1000

    async def refuse(_listening: socket.socket) -> None:
        nonlocal tries
        tries += 1
        if tries == most:
            raise asyncio.CancelledError
        raise OSError(errno.ENOBUFS, "No buffer space available")

    monkeypatch.setattr(asyncio.get_running_loop(), "sock_accept", refuse)
    options = load(None, {"GEMINI_BACKEND_WEB__LISTEN": "127.0.0.1:0"}).web
    listener = WebListener(web.Application(), Admission("web", options, SILENT, lambda: None))
    await listener.start()
    for _ in range(10):
        await asyncio.sleep(0)
    assert 1 < tries < most
    await listener.aclose()
