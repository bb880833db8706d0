"""Attacks on the HTTP port: paths, heads, bodies, slow clients; no text of the server's own."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.e2e.hardening.raw_callers import raw_caller
from tests.support.servers.guarded import Guarded, guarded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.asyncio(loop_scope="module")

OWN = (b"aiohttp", b"Python", b"Traceback", b'File "', b"Error", b"0x")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Guarded]:
    """A server whose pages need a key; a head may take 1 s."""
    settings = {
        "WEB__HEAD_TIMEOUT_SECONDS": "1",
        "WEB__KEEPALIVE_SECONDS": "2",
        "WEB__MAX_CONNECTIONS_PER_PEER": "50",
    }
    keys = {"house/ada": ("admin",)}
    async with guarded(tmp_path_factory.mktemp("state"), keys, **settings) as made:
        yield made


async def sent(place: Guarded, *pieces: bytes, pause: float = 0.0) -> bytes:
    """Send pieces over one connection; return what comes until the server closes it."""
    async with raw_caller(place.server.ports["web"], b"") as caller:
        with suppress(OSError, TimeoutError):
            for piece in pieces:
                await caller.send(piece)
                await asyncio.sleep(pause)
        await caller.gone(8)
        return bytes(caller.got)


def status(answer: bytes) -> int:
    """Return the status of the first answer; 0 where there is none."""
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/") else 0


def request(path: bytes, *more: bytes, method: bytes = b"GET") -> bytes:
    """Return a request after which the connection is closed."""
    first = b"%s %s HTTP/1.1" % (method, path)
    return b"\r\n".join((first, b"Host: x", b"Connection: close", *more, b"", b""))


async def test_the_key_opens_the_page(place: Guarded) -> None:
    """With the key of an admin the page is there: what is refused below is refused for a reason."""
    ((_, value),) = place.key("house/ada")
    answer = await sent(place, request(b"/metrics", b"Authorization: " + value.encode()))
    assert (200, True) == (status(answer), b"gemini_backend_build_info" in answer)


PATHS = [
    b"/metrics",
    b"//metrics",
    b"/./metrics",
    b"/metrics/",
    b"/metrics/../metrics",
    b"/healthz/../metrics",
    b"/healthz/..%2fmetrics",
    b"/%2e%2e/metrics",
    b"/%6d%65trics",
    b"/%2fmetrics",
    b"/metrics%00",
    b"/metrics%0d%0aX-Forged:%20yes",
    b"/metrics;/healthz",
    b"/metrics?/healthz",
    b"/healthz?/metrics",
    b"/metrics#/healthz",
    b"/METRICS",
    b"/metrics\\..\\healthz",
    b"http://x/metrics",
    b"http://x//metrics",
    b"http://x/healthz/../metrics",
    b"*",
    b"/\xff\xfe",
    b"/%ff%fe",
    b"/../../../../etc/passwd",
]


@pytest.mark.parametrize("path", PATHS)
async def test_no_way_of_writing_a_path_leads_round_the_guard(place: Guarded, path: bytes) -> None:
    """However a path is written, a page that needs a key is not shown without one."""
    for method in (b"GET", b"HEAD", b"POST", b"OPTIONS", b"TRACE", b"BREW"):
        answer = await sent(place, request(path, method=method))
        assert status(answer) in {200, 400, 401, 403, 404, 405}, answer
        assert b"gemini_backend_" not in answer
        assert b"X-Forged" not in answer.partition(b"\r\n\r\n")[0]
        assert [] == [own for own in OWN if own in answer]


@pytest.mark.parametrize(
    "more",
    [
        (b"X-Original-URL: /healthz",),
        (b"X-Forwarded-Path: /healthz", b"X-Rewrite-URL: /healthz"),
        (b"X-HTTP-Method-Override: GET",),
        (b"Authorization: Bearer a\tb",),
        (b"Authorization: Bearer \xff",),
        (b"Authorization: Bearer gbk_a_b", b"Authorization: Bearer gbk_c_d"),
        (b"X-Forwarded-For: 127.0.0.1", b"X-Real-IP: 127.0.0.1"),
    ],
)
async def test_no_header_leads_round_the_guard(place: Guarded, more: tuple[bytes, ...]) -> None:
    """Headers that proxies of others believe in mean nothing here."""
    answer = await sent(place, request(b"/metrics", *more))
    assert status(answer) in {400, 401}
    assert b"gemini_backend_" not in answer


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\na",
        b"GET /healthz HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n Host: x\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: a\rX-Forged: b\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nX" + b"x" * 100_000 + b": b\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"X: b\r\n" * 10_000 + b"\r\n",
        b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
        b"\x00" * 1000,
    ],
)
async def test_what_is_no_request_gets_a_bare_400(place: Guarded, raw: bytes) -> None:
    """Requests that two servers could read differently are refused, and nothing is quoted."""
    answer = await sent(place, raw)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert (400, b"400: bad request\n", b"close" in head.lower() or b"HTTP/1.0" in head) == (
        status(answer),
        body,
        True,
    )
    assert [] == [own for own in OWN if own in answer]


async def test_a_body_without_end_is_not_read(place: Guarded) -> None:
    """The page answers at once, and the connection is closed within seconds."""
    before = place.server.resident_kib()
    chunk = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
    head = request(b"/healthz", b"Transfer-Encoding: chunked", method=b"POST")
    answer = await sent(place, head, *([chunk] * 400))
    assert status(answer) in {0, 401, 404, 405}
    assert (place.server.resident_kib() - before) / 1024 < 20


@pytest.mark.parametrize(
    "head", [b"GET /", b"GET /healthz HTTP/1.1\r\n", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-"]
)
async def test_a_slow_head_is_cut_off(place: Guarded, head: bytes) -> None:
    """However slowly it goes on (slowloris), the head must be there in its time."""
    slowly = [head, *(b"a" for _ in range(30))]
    async with asyncio.timeout(8):
        assert b"" == await sent(place, *slowly, pause=0.1)


async def test_a_second_slow_head_is_cut_off(place: Guarded) -> None:
    """Keepalive ends also while the next request arrives slowly."""
    first = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    async with asyncio.timeout(8):
        answer = await sent(place, first, b"GET /he", *(b"a" for _ in range(30)), pause=0.1)
    assert 1 == answer.count(b"HTTP/1.1")


async def test_pipelined_requests_are_bounded(place: Guarded) -> None:
    """A thousand requests at once are answered in turn, by one connection, within its memory."""
    before = place.server.resident_kib()
    many = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 1000
    answer = await sent(place, many)
    assert 1000 == answer.count(b"HTTP/1.1 200")
    assert (place.server.resident_kib() - before) / 1024 < 20


async def test_one_address_does_not_take_every_connection(place: Guarded) -> None:
    """Beyond its number the connections of one address are closed; ended ones count no more."""
    host, _, port = place.server.ports["web"].rpartition(":")
    held = [await asyncio.open_connection(host, int(port)) for _ in range(80)]
    await asyncio.sleep(0.3)
    assert 30 == sum(reader.at_eof() for reader, _ in held)
    await asyncio.sleep(1.5)
    assert 80 == sum(reader.at_eof() for reader, _ in held)
    assert 200 == status(await sent(place, request(b"/healthz")))
    for _, writer in held:
        writer.close()


async def test_the_log_is_neither_forged_nor_flooded(place: Guarded) -> None:
    """All of this is a few lines, each of them JSON, without anything that was sent."""
    await asyncio.sleep(0.3)
    lines = place.server.log().splitlines()
    events = [json.loads(one) for one in lines if one.startswith("{")]
    assert lines
    assert not any("Forged" in one or "forged" in one for one in lines)
    refused = [one for one in events if one["event"] == "connections_refused"]
    assert {"malformed", "slow", "too_many_of_peer"} == {one["reason"] for one in refused}
    assert len(refused) < 100
