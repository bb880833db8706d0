"""What has arrived on a connection counts, whether or not the event loop has come to read it."""

from __future__ import annotations

import select
import socket
import ssl
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from gemini_backend.clock import SystemClock
from gemini_backend.upstream.gemini.client import GeminiUpstream
from gemini_backend.upstream.gemini.options import GeminiOptions
from tests.support.upstreams.http_clients import open_idle
from tests.upstream.gemini.connection.test_desync import LATE_408, answer_to, count

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path


class Blocking:
    """A server in a thread of its own, so that it acts while the event loop stands still."""

    def __init__(self, after: bytes | None, context: ssl.SSLContext | None) -> None:
        """Send `after` behind each answer, unasked; None closes the connection instead."""
        self._after = after
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._go, self._acted = threading.Event(), threading.Event()
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()
        self.connections = 0

    def _accept(self) -> None:
        with suppress(OSError):  # it is closed
            while True:
                sock, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        if self._context is not None:
            sock = self._context.wrap_socket(sock, server_side=True)
        with suppress(OSError), sock:
            while request := self._request(sock):
                sock.sendall(answer_to(request))
                self._go.wait()
                self._go.clear()
                if self._after is None:
                    sock.close()
                else:
                    sock.sendall(self._after)
                self._acted.set()

    def _request(self, sock: socket.socket) -> bytes:
        data = b""
        while b"number" not in data or not data.endswith(b"}"):
            piece = sock.recv(65536)
            if not piece:
                return b""
            data += piece
        return data

    def act(self) -> None:
        """Let it do what nobody asked for, and wait until it has; the event loop stands still."""
        self._acted.clear()
        self._go.set()
        assert self._acted.wait(5)

    def close(self) -> None:
        """Accept no more."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._listener.close()


@contextmanager
def blocking(after: bytes | None, context: ssl.SSLContext | None = None) -> Iterator[Blocking]:
    """Run such a server."""
    server = Blocking(after, context)
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
async def upstream_at() -> AsyncIterator[Callable[..., GeminiUpstream]]:
    """Return what makes an upstream at an address."""
    made: list[GeminiUpstream] = []

    def make(url: str, **options: Any) -> GeminiUpstream:
        given = GeminiOptions(base_url=url, api_keys=("k",), settle_seconds=0, **options)
        made.append(GeminiUpstream(given, SystemClock()))
        return made[-1]

    yield make
    for upstream in made:
        await upstream.aclose()


@pytest.mark.parametrize("after", [LATE_408, b"x", None])
@pytest.mark.parametrize("encrypted", [False, True])
async def test_what_only_the_kernel_knows_counts_too(
    tmp_path: Path,
    upstream_at: Callable[..., GeminiUpstream],
    after: bytes | None,
    *,
    encrypted: bool,
) -> None:
    """Bytes, or an end, that have arrived and that the event loop has not come to read."""
    context = None
    options = {}
    if encrypted:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        options["ca_file"] = str(tmp_path / "ca.pem")
    with blocking(after, context) as server:
        scheme = "https" if encrypted else "http"
        upstream = upstream_at(f"{scheme}://127.0.0.1:{server.port}", **options)
        for number in range(1, 6):
            assert number == await count(upstream, number)
            (connection,) = open_idle(upstream)
            server.act()
            # the way from one side to the other may take a moment, on this machine as well
            select.select([connection.get_extra_info("socket")], [], [], 5)
        assert 5 == server.connections
