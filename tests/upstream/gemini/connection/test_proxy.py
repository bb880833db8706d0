"""The way through a proxy."""

from __future__ import annotations

import asyncio
import ssl
from base64 import b64encode
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from gemini_backend import errors
from gemini_backend.clock import SystemClock
from gemini_backend.upstream.gemini.client import GeminiUpstream
from gemini_backend.upstream.gemini.connection.proxy import Proxy, ProxyAddressError
from gemini_backend.upstream.gemini.options import GeminiOptions
from tests.support.upstreams.http_clients import open_idle
from tests.upstream.gemini.connection.test_desync import answer_to, count, execute, request_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

BASIC = "Basic " + b64encode(b"user:p@ss").decode()


@pytest.mark.parametrize(
    ("text", "address", "authorization"),
    [
        ("http://proxy.test:3128", "http://proxy.test:3128", ""),
        ("http://proxy.test:3128/", "http://proxy.test:3128", ""),
        ("proxy.test:3128", "http://proxy.test:3128", ""),
        ("proxy.test", "http://proxy.test:80", ""),
        ("https://proxy.test", "https://proxy.test:443", ""),
        ("http://[::1]:8080", "http://[::1]:8080", ""),
        ("http://user:p%40ss@proxy.test:1", "http://proxy.test:1", BASIC),
        ("user:p%40ss@proxy.test:1", "http://proxy.test:1", BASIC),
    ],
)
def test_a_proxys_address_is_read_as_the_usual_variables_have_it(
    text: str, address: str, authorization: str
) -> None:
    """With or without a scheme; user and password become a header of their own."""
    assert Proxy(address, authorization) == Proxy.of(text)


@pytest.mark.parametrize(
    "text",
    [
        "socks5://user:secret@proxy.test:1080",
        "http://user:secret@proxy.test:port",
        "http://user:secret@[proxy:1",
        "http://user:secret@proxy.test:0",
        "http://user:secret@:3128",
        "http://user:secret@proxy.test:1/path",
        "http://user:secret@proxy.test:1?query",
        "http://user:secret@proxy .test:1",
        "http://user:secret@proxy.test\n:1",
        "",
    ],
)
def test_what_is_no_proxys_address_is_refused(text: str) -> None:
    """In words that do not repeat it: it may hold a password."""
    with pytest.raises(ProxyAddressError) as raised:
        Proxy.of(text)
    assert "secret" not in str(raised.value)


def test_a_proxy_does_not_show_its_password() -> None:
    """However it is made a text."""
    shown = repr(Proxy.of("http://user:p%40ss@proxy.test:1"))
    assert "proxy.test" in shown
    assert not [word for word in ("p@ss", BASIC) if word in shown]


class FakeProxy:
    """A proxy that answers plain requests by itself, and tunnels to `target`."""

    def __init__(self, target: int, refusal: bytes) -> None:
        """Answer with `refusal` instead, where it is given."""
        self.heads: list[bytes] = []
        self.port = 0
        self.times = 1
        """How often a plain answer is sent."""
        self._target = target
        self._refusal = refusal

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                request = await request_of(reader)
                self.heads.append(request)
                if self._refusal:
                    writer.write(self._refusal)
                elif request.startswith(b"CONNECT"):
                    writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                    far, forth = await asyncio.open_connection("127.0.0.1", self._target)
                    await asyncio.gather(pump(reader, forth), pump(far, writer))
                    break
                else:
                    writer.write(answer_to(request) * self.times)
        writer.transport.abort()


async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Carry bytes until there are no more."""
    with suppress(ConnectionError):
        while data := await source.read(65536):
            sink.write(data)
        sink.close()


def noted(talk: Talk) -> tuple[Talk, set[asyncio.Task[None]]]:
    """Return the same talk, and the set of those that are under way."""
    under_way: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task: Any = asyncio.current_task()
        under_way.add(task)
        await talk(reader, writer)

    return serve, under_way


async def ended(under_way: set[asyncio.Task[None]]) -> None:
    """Wait until the other side has noticed that everybody has left."""
    if under_way:
        await asyncio.wait(under_way, timeout=5)
    await asyncio.sleep(0)


@asynccontextmanager
async def proxying(target: int = 0, refusal: bytes = b"") -> AsyncIterator[FakeProxy]:
    """Run such a proxy."""
    proxy = FakeProxy(target, refusal)
    serve, serving = noted(proxy.serve)
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        await ended(serving)


@asynccontextmanager
async def upstream_through(
    proxy: FakeProxy, base_url: str, user: str = "", ca_file: str = ""
) -> AsyncIterator[GeminiUpstream]:
    """Return an upstream that goes through a proxy."""
    options = GeminiOptions(
        base_url=base_url,
        api_keys=("k",),
        settle_seconds=0,
        proxy=Proxy.of(f"http://{user}127.0.0.1:{proxy.port}"),
        ca_file=ca_file,
    )
    upstream = GeminiUpstream(options, SystemClock())
    try:
        yield upstream
    finally:
        await upstream.aclose()


@asynccontextmanager
async def encrypted(folder: Path) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Run a model API with TLS; yield its port and the requests that it gets."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("api.test").configure_cert(context)
    requests: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while request := await request_of(reader):
                requests.append(request)
                writer.write(answer_to(request))
        writer.transport.abort()

    noting, serving = noted(serve)
    server = await asyncio.start_server(noting, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1], requests
    finally:
        server.close()
        await ended(serving)


async def test_https_goes_through_a_tunnel(tmp_path: Path) -> None:
    """The proxy sees the host and its own password, no key; names are looked up by it."""
    async with (
        encrypted(tmp_path) as (port, requests),
        proxying(port) as proxy,
        upstream_through(
            proxy, "https://api.test", "user:p%40ss@", str(tmp_path / "ca.pem")
        ) as upstream,
    ):
        for number in range(1, 4):
            assert number == await execute(upstream, number)
        (head,) = proxy.heads
        assert head.startswith(b"CONNECT api.test:443 HTTP/1.1\r\n")
        assert f"Proxy-Authorization: {BASIC}".encode() in head
        assert b"x-goog-api-key" not in head.lower()
        assert not [request for request in requests if b"proxy-auth" in request.lower()]
        assert 3 == len(requests)


async def test_http_is_asked_of_the_proxy_itself() -> None:
    """By the whole address; the connection to the proxy is kept, and guarded as any other."""
    async with (
        proxying() as proxy,
        upstream_through(proxy, "http://api.test:81", "user:p%40ss@") as upstream,
    ):
        for number in range(1, 4):
            assert number == await count(upstream, number)
        first = proxy.heads[0]
        assert first.startswith(b"POST http://api.test:81/v1beta/models/m:countTokens HTTP/1.1\r\n")
        assert f"Proxy-Authorization: {BASIC}".encode() in first
        assert 1 == len(open_idle(upstream))
        proxy.times = 2
        for number in range(4, 7):
            assert number == await count(upstream, number)


@pytest.mark.parametrize(
    ("status", "word", "lasting"),
    [(407, "proxy_url", True), (403, "rules", True), (502, "cannot reach", False)],
)
async def test_a_proxy_that_refuses_the_way_is_named(
    status: int, word: str, *, lasting: bool
) -> None:
    """With its host, what it said and what helps; never with its password."""
    refusal = f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n".encode()
    async with (
        proxying(refusal=refusal) as proxy,
        upstream_through(proxy, "https://api.test", "user:p%40ss@") as upstream,
    ):
        with pytest.raises(errors.Unreachable, match=word) as raised:
            await count(upstream, 1)
        error = raised.value
        assert f"the proxy at http://127.0.0.1:{proxy.port} refuses" in error.message
        assert ({"proxy_status": str(status)}, lasting) == (error.metadata, error.lasting)
        assert not [word for word in ("p@ss", "p%40ss", BASIC) if word in repr(vars(error))]


async def test_a_proxy_asks_for_a_password_of_plain_requests_too() -> None:
    """Its 407 is not taken for the model API's."""
    refusal = b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n"
    async with (
        proxying(refusal=refusal) as proxy,
        upstream_through(proxy, "http://api.test") as upstream,
    ):
        with pytest.raises(errors.Unreachable, match="proxy_url"):
            await count(upstream, 1)


@pytest.mark.parametrize("base_url", ["https://api.test", "http://api.test"])
async def test_a_proxy_that_is_not_there_is_named(base_url: str) -> None:
    """Not the model API."""
    async with proxying() as proxy:
        pass
    async with upstream_through(proxy, base_url) as upstream:
        with pytest.raises(errors.Unreachable, match="through the proxy at") as raised:
            await count(upstream, 1)
        assert "upstream.gemini.proxy_url" in raised.value.message


async def test_a_proxy_that_hangs_is_named() -> None:
    """Within the time to connect."""
    gone = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        gone.set()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    options = GeminiOptions(
        base_url="https://api.test",
        api_keys=("k",),
        proxy=Proxy(address),
        connect_timeout_seconds=0.05,
    )
    upstream = GeminiUpstream(options, SystemClock())
    with pytest.raises(errors.ConnectTimeout, match="through the proxy"):
        await count(upstream, 1)
    await upstream.aclose()
    await asyncio.wait_for(gone.wait(), 1)
    server.close()
