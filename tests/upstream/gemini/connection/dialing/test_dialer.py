"""Connections to an origin.

Covers: upstream/gemini/connection/dialing/origin.py
"""

from __future__ import annotations

import asyncio

import pytest

from gemini_backend.upstream.gemini.connection.dialing.dialer import Dialer
from gemini_backend.upstream.gemini.connection.dialing.origin import Origin, RequestForm
from gemini_backend.upstream.gemini.connection.proxy import Proxy
from gemini_backend.upstream.gemini.options import GeminiOptions

PLAIN, ENCRYPTED = Origin("api.test", 80, tls=False), Origin("api.test", 8443, tls=True)


@pytest.mark.parametrize(
    ("origin", "text", "authority"),
    [
        (PLAIN, "http://api.test", "api.test:80"),
        (ENCRYPTED, "https://api.test:8443", "api.test:8443"),
        (Origin("::1", 443, tls=True), "https://[::1]", "[::1]:443"),
        (Origin("api.test", 443, tls=False), "http://api.test:443", "api.test:443"),
    ],
)
def test_an_origin_is_written_as_in_an_address(origin: Origin, text: str, authority: str) -> None:
    """The port is left out where it is the scheme's own; brackets stand round IPv6 addresses."""
    assert (text, authority) == (str(origin), origin.authority)


def test_a_proxy_is_asked_by_the_whole_address_of_plain_origins() -> None:
    """And gets its password with each request; a tunnel has got it before."""
    dialer = Dialer(GeminiOptions(proxy=Proxy.of("http://user:p%40ss@proxy.test:3128")))
    form = dialer.form(PLAIN)
    assert ("http://api.test", ["Proxy-Authorization"]) == (
        form.prefix,
        [n for n, _ in form.headers],
    )
    assert "Basic" not in repr(form)
    assert RequestForm("", ()) == dialer.form(ENCRYPTED)
    assert RequestForm("", ()) == Dialer(GeminiOptions()).form(PLAIN)


async def test_a_connection_is_ready_when_it_is_returned() -> None:
    """The protocol has been told of it."""
    made: list[asyncio.BaseTransport] = []

    class Told(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            made.append(transport)

    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    transport, protocol = await Dialer(GeminiOptions()).dial(
        Origin("127.0.0.1", port, tls=False), Told
    )
    assert ([transport], Told) == (made, type(protocol))
    transport.abort()
    server.close()
    await server.wait_closed()
