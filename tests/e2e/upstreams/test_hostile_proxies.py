"""A proxy in all its moods, before one server: each call is told, and the next one is served."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from tests.e2e.upstreams.test_way_out import API, CA_FILE, ask
from tests.support.messages.failures import failure_of
from tests.support.servers.process import AS_IT_COMES, serving, upstream_at
from tests.upstream.gemini.connection.test_proxy import encrypted, pump

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

OK = b"HTTP/1.1 200 Connection established\r\n\r\n"
NO_RETRY = {"GEMINI_BACKEND_RETRY__MAX_ATTEMPTS": "1", "GEMINI_BACKEND_BREAKER__ENABLED": "false"}
MOODS: dict[str, tuple[bytes, str, str]] = {
    "asks for a password": (
        b"HTTP/1.1 407 No\r\nContent-Length: 9\r\n\r\np%40ss us",
        "UPSTREAM_UNREACHABLE",
        "put them into upstream.gemini.proxy_url",
    ),
    "closes": (b"", "UPSTREAM_UNREACHABLE", "closed the connection without an answer"),
    "sends a page": (b"<html>Log in</html>", "UPSTREAM_UNREACHABLE", "does not speak HTTP/1.1"),
    "sends a page as a tunnel": (
        OK + b"<html>Log in</html>",
        "UPSTREAM_UNREACHABLE",
        "data of its own in place of a tunnel",
    ),
    "never ends its head": (
        b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 20_000,
        "UPSTREAM_UNREACHABLE",
        "more than 65536 bytes",
    ),
}


class Moody:
    """A proxy that answers as it is told, and else leads to `target`."""

    def __init__(self, target: int) -> None:
        self.answer: bytes | None = None
        self.open = 0
        self._target = target

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            if self.answer is None:
                writer.write(OK)
                far, forth = await asyncio.open_connection("127.0.0.1", self._target)
                await asyncio.gather(pump(reader, forth), pump(far, writer))
            else:
                writer.write(self.answer)
                await writer.drain()
                if self.answer:
                    await reader.read()
        writer.transport.abort()
        self.open -= 1


@asynccontextmanager
async def moody(target: int) -> AsyncIterator[tuple[Moody, int]]:
    """Run such a proxy; yield it, and its port."""
    proxy = Moody(target)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    try:
        yield proxy, server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await asyncio.sleep(0)


async def test_every_mood_is_told_and_survived(tmp_path: Path) -> None:
    """With the proxy's address and what helps; no password, no words of its own, no socket left."""
    async with encrypted(tmp_path) as (port, _), moody(port) as (proxy, way):
        env = {
            **upstream_at(API, **AS_IT_COMES),
            **NO_RETRY,
            "GEMINI_BACKEND_UPSTREAM__HTTP_CLIENT": "asyncio",
            CA_FILE: str(tmp_path / "ca.pem"),
            "HTTPS_PROXY": f"http://user:p%40ss@127.0.0.1:{way}",
            "GEMINI_BACKEND_UPSTREAM__GEMINI__KEEPALIVE_SECONDS": "0",
        }
        async with serving(env) as server:
            for number, (mood, (answer, reason, words)) in enumerate(MOODS.items()):
                proxy.answer = answer
                failure = await failure_of(ask(server, number))
                assert (reason, True) == (failure.reason, words in failure.message), mood
                assert f"http://127.0.0.1:{way}" in failure.message
                assert "Log in" not in failure.message
                proxy.answer = None
                assert str(number) == await ask(server, number)
            await asyncio.sleep(0.2)
            assert 0 == proxy.open
            assert [] == [secret for secret in ("p%40ss", "p@ss") if secret in server.log()]
