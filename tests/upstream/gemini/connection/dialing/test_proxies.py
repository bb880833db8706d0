"""Connections through proxies, as they are and as they should not be."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from gemini_backend import errors
from gemini_backend.upstream.gemini.connection.dialing.dialer import Dialer
from gemini_backend.upstream.gemini.connection.proxy import Proxy
from gemini_backend.upstream.gemini.options import GeminiOptions
from tests.upstream.gemini.connection.dialing.far_ends import (
    Client,
    Echo,
    FakeProxy,
    asked,
    authority,
    closed,
    identity,
    leading_to,
    origin,
    serving,
)
from tests.upstream.gemini.connection.dialing.test_race import refusing

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("nothing_left_open")

OK = b"HTTP/1.1 200 Connection established\r\n\r\n"
SECRETS = ("p@ss", "p%40ss", "dXNlcjpwQHNz")


def through(folder: Path, port: int, scheme: str = "http", limit: float = 5.0) -> Dialer:
    """Return a dialer that goes through a proxy at a port of this machine."""
    proxy = Proxy.of(f"{scheme}://user:p%40ss@proxy.test:{port}")
    options = GeminiOptions(
        base_url="http://127.0.0.1",
        ca_file=str(folder / "ca.pem"),
        proxy=proxy,
        connect_timeout_seconds=limit,
    )
    return Dialer(options, resolve=leading_to("127.0.0.1"))


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_https_goes_through_a_tunnel(tmp_path: Path, scheme: str) -> None:
    """TLS within TLS where the proxy is asked by https; sessions of both are taken up again."""
    issuer, echo = authority(tmp_path), Echo()
    outer = identity(issuer, "proxy.test") if scheme == "https" else None
    async with serving(echo, identity(issuer)) as port:
        proxy = FakeProxy(port, OK)
        async with serving(proxy, outer) as way:
            dialer = through(tmp_path, way, scheme)
            for _ in range(2):
                made = await dialer.dial(origin(port), Client)
                assert ([made[0]], b"ping\n") == (made[1].made, await asked(made))
                dialer.learn(made[0])
                await closed(made)
    assert [False, True] == echo.resumed
    assert f"CONNECT api.test:{port} HTTP/1.1".encode() == proxy.heads[0].split(b"\r\n")[0]
    assert ({"api.test", "proxy.test"} if outer else {"api.test"}) == set(dialer._tls._sessions)


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_http_goes_to_the_proxy_itself(tmp_path: Path, scheme: str) -> None:
    """It is asked by the whole address, which the form of the request says."""
    outer = identity(authority(tmp_path), "proxy.test") if scheme == "https" else None
    async with serving(Echo(), outer) as way:
        dialer = through(tmp_path, way, scheme)
        made = await dialer.dial(origin(81, tls=False), Client)
        assert b"ping\n" == await asked(made)
        assert "http://api.test:81" == dialer.form(origin(81, tls=False)).prefix
        await closed(made)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n",
            "put them into upstream.gemini.proxy_url",
        ),
        (b"HTTP/1.1 403 No\r\n\r\n<html>dXNlcjpwQHNz</html>", "its rules forbid"),
        (b"HTTP/1.1 502 No\r\n\r\n", "it cannot reach the model API"),
        (OK + b"<html>p@ss</html>", "data of its own"),
        (b"<html>p@ss</html>", "does not speak HTTP/1.1"),
        (OK + b"HTTP/1.1 200 OK\r\n\r\n", "data of its own"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: dXNlcjpwQHNz\r\n" * 9000, "more than 65536 bytes"),
    ],
)
async def test_a_proxy_that_opens_no_tunnel_is_named(
    tmp_path: Path, answer: bytes, words: str
) -> None:
    """With what helps, and nothing of what it said, or of its user and password."""
    authority(tmp_path)
    async with serving(FakeProxy(0, answer)) as way:
        with pytest.raises(errors.Unreachable, match=words) as raised:
            await through(tmp_path, way).dial(origin(443), Client)
    assert f"http://proxy.test:{way}" in raised.value.message
    assert [] == [one for one in SECRETS if one in repr(vars(raised.value))]


async def late_page(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(OK)
    await reader.read(1)
    writer.write(b"<html>Please log in</html>")
    await reader.read()


async def hangs_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")


async def opens_and_hangs_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(OK)
    await writer.drain()


@pytest.mark.parametrize(
    ("talk", "words"),
    [
        (late_page, "no TLS session"),
        (hangs_up, "closed the connection"),
        (opens_and_hangs_up, "no TLS session"),
    ],
)
async def test_a_tunnel_that_leads_nowhere_is_told(tmp_path: Path, talk: Any, words: str) -> None:
    """A page in place of the model API, or an end."""
    authority(tmp_path)
    async with serving(talk) as way:
        with pytest.raises(errors.Unreachable, match=words) as raised:
            await through(tmp_path, way).dial(origin(443), Client)
    assert "through the proxy at" in raised.value.message


async def says_nothing(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


async def says_it_slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    for number in range(10_000):
        writer.write(OK[number : number + 1] if number < 20 else b"x")
        await writer.drain()
        await asyncio.sleep(0.01)


async def opens_and_says_nothing(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    writer.write(OK)
    await reader.read()


@pytest.mark.parametrize("talk", [says_nothing, says_it_slowly, opens_and_says_nothing])
async def test_a_proxy_has_as_much_time_as_all_of_it(tmp_path: Path, talk: Any) -> None:
    """Silent, slow, or leading to silence."""
    authority(tmp_path)
    async with serving(talk) as way:
        with pytest.raises(errors.ConnectTimeout, match=r"through the proxy at .* within 0.1 s"):
            await through(tmp_path, way, limit=0.1).dial(origin(443), Client)


@pytest.mark.parametrize("tls", [True, False])
async def test_a_proxy_that_is_not_there_is_named(tmp_path: Path, tls: bool) -> None:
    """With its setting."""
    authority(tmp_path)
    words = r"refused.*upstream.gemini.proxy_url"
    with refusing() as closed_port, pytest.raises(errors.Unreachable, match=words):
        await through(tmp_path, closed_port[1]).dial(origin(443, tls=tls), Client)


@pytest.mark.asyncio(loop_factories=["uvloop"])  # asyncio's own breaks at TLS in TLS that fails
async def test_the_certificate_of_a_proxy_is_told_from_the_model_apis(tmp_path: Path) -> None:
    """Each is looked at by its own name."""
    issuer = authority(tmp_path)
    async with serving(Echo(), identity(issuer, "other.test")) as port:
        async with serving(FakeProxy(port, OK), identity(issuer, "proxy.test")) as way:
            with pytest.raises(errors.Unreachable, match=r": its certificate.*base_url"):
                await through(tmp_path, way, "https").dial(origin(port), Client)
        async with serving(FakeProxy(port, OK), identity(issuer, "other.test")) as way:
            with pytest.raises(errors.Unreachable, match=r"the proxy's certificate.*proxy_url"):
                await through(tmp_path, way, "https").dial(origin(port), Client)


async def test_what_is_said_with_the_end_of_tls_reaches_the_protocol(tmp_path: Path) -> None:
    """In its turn: after it has been told of the connection."""

    async def hurried(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        await writer.drain()

    issuer = authority(tmp_path)
    async with serving(hurried, identity(issuer)) as port, serving(FakeProxy(port, OK)) as way:
        made = await through(tmp_path, way).dial(origin(port), Client)
        assert b"hello" == await asyncio.wait_for(made[1].heard.get(), 5)
        await asyncio.wait_for(made[1].lost.wait(), 5)
        made[0].abort()


@pytest.mark.parametrize("turns", [*range(0, 40, 3), 60, 100])
async def test_leaving_at_any_moment_leaves_nothing_open(tmp_path: Path, turns: int) -> None:
    """TLS within TLS, the longest way there is."""
    issuer = authority(tmp_path)
    proxy = FakeProxy(0, OK)
    async with (
        serving(Echo(), identity(issuer)) as proxy.target,
        serving(proxy, identity(issuer, "proxy.test")) as way,
    ):
        dial = asyncio.create_task(through(tmp_path, way, "https").dial(origin(443), Client))
        for _ in range(turns):
            await asyncio.sleep(0.0002)
        if dial.cancel():
            with pytest.raises(asyncio.CancelledError):
                await dial
        else:
            await closed(dial.result())
