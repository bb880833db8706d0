"""Connections to an origin: direct, through a proxy, by TLS; and what keeps them from being made.

Covers: upstream/gemini/connection/dialing/origin.py, upstream/gemini/connection/dialing/hop.py
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from gemini_backend import errors
from gemini_backend.upstream.gemini.connection.dialing.dialer import Dialer
from gemini_backend.upstream.gemini.connection.dialing.origin import Origin, RequestForm
from gemini_backend.upstream.gemini.connection.proxy import Proxy
from gemini_backend.upstream.gemini.options import GeminiOptions
from tests.upstream.gemini.connection.dialing.far_ends import (
    NAME,
    Client,
    Echo,
    asked,
    authority,
    closed,
    identity,
    leading_to,
    origin,
    serving,
)
from tests.upstream.gemini.connection.dialing.test_race import silent

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("nothing_left_open")

PLAIN, ENCRYPTED = Origin(NAME, 80, tls=False), Origin(NAME, 8443, tls=True)
LOCAL = leading_to("127.0.0.1")


def dialer(folder: Path | None = None, addresses: Any = LOCAL, **options: Any) -> Dialer:
    """Return a dialer that finds every name on this machine."""
    ca_file = str(folder / "ca.pem") if folder else ""
    given = GeminiOptions(base_url="http://127.0.0.1", ca_file=ca_file, **options)
    return Dialer(given, resolve=addresses)


@pytest.mark.parametrize(
    ("where", "text", "asked_of"),
    [
        (PLAIN, "http://api.test", "api.test:80"),
        (ENCRYPTED, "https://api.test:8443", "api.test:8443"),
        (Origin("::1", 443, tls=True), "https://[::1]", "[::1]:443"),
        (Origin("api.test", 443, tls=False), "http://api.test:443", "api.test:443"),
    ],
)
async def test_an_origin_is_written_as_in_an_address(
    where: Origin, text: str, asked_of: str
) -> None:
    """The port is left out where it is the scheme's own; brackets stand round IPv6 addresses."""
    assert (text, asked_of) == (str(where), where.authority)
    assert where == Origin.of(f"{text}/path")


async def test_a_name_in_another_script_is_dialed_as_dns_has_it() -> None:
    """For resolvers, proxies and certificates."""
    assert Origin("xn--bcher-kva.test", 443, tls=True) == Origin.of("https://b\u00fccher.test")
    assert Origin("::1", 8080, tls=False) == Origin.of("http://[::1]:8080/v1")


async def test_a_proxy_is_asked_by_the_whole_address_of_plain_origins() -> None:
    """And gets its password with each request; for a tunnel it has got it before."""
    through = dialer(proxy=Proxy.of("http://user:p%40ss@proxy.test:3128"))
    form = through.form(PLAIN)
    assert ("http://api.test", "Proxy-Authorization") == (form.prefix, form.headers[0][0])
    assert "Basic" not in repr(form)
    assert RequestForm("", ()) == through.form(ENCRYPTED) == dialer().form(PLAIN)


@pytest.mark.parametrize("tls", [False, True])
async def test_a_connection_is_ready_when_it_is_returned(tmp_path: Path, tls: bool) -> None:
    """The protocol has been told of it, once."""
    context = identity(authority(tmp_path)) if tls else None
    async with serving(Echo(), context) as port:
        made = await dialer(tmp_path).dial(origin(port, tls=tls), Client)
        assert [made[0]] == made[1].made
        assert b"ping\n" == await asked(made)
        await closed(made)


async def test_connections_are_watched_and_do_not_wait_for_more_to_send() -> None:
    """By TCP keepalive as the options say, and without Nagle's algorithm."""
    async with serving(Echo()) as port:
        made = await dialer(tcp_keepalive_time_seconds=7).dial(origin(port, tls=False), Client)
        sock = made[0].get_extra_info("socket")
        assert 7 == sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
        assert 1 == sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        await closed(made)


async def test_ten_addresses_of_which_one_works() -> None:
    """It is found, and comes first from then on."""
    async with serving(Echo()) as port:
        addresses = leading_to(*(f"127.0.0.{last}" for last in range(10, 1, -1)), "127.0.0.1")
        many = dialer(addresses=addresses)
        for _ in range(2):
            await closed(await many.dial(origin(port, tls=False), Client))
        answer = many._names.name(NAME, port).answer
        assert answer is not None
        assert "127.0.0.1" == answer.addresses[0][4][0]


async def test_addresses_that_fail_are_looked_up_anew() -> None:
    """Within the same dial, where the answer had been remembered."""
    addresses = iter(["127.0.0.1", "127.0.0.9", "127.0.0.1"])
    asked_for: list[str] = []

    async def moving(host: str, port: int) -> Any:
        asked_for.append(address := next(addresses))
        return await leading_to(address)(host, port)

    moved = dialer(addresses=moving)
    async with serving(Echo()) as port:
        await closed(await moved.dial(origin(port, tls=False), Client))
        moved._names.name(NAME, port).answer.addresses[:] = (  # type: ignore[union-attr]
            await leading_to("127.0.0.8")(NAME, port)
        )
        with pytest.raises(errors.Unreachable, match="Connection refused; check"):
            await moved.dial(origin(port, tls=False), Client)
        await closed(await moved.dial(origin(port, tls=False), Client))
    assert ["127.0.0.1", "127.0.0.9", "127.0.0.1"] == asked_for


async def test_addresses_that_do_not_answer_are_tried_last_by_the_next_dial() -> None:
    """Time runs out over the first ones; then it is the turn of the others."""
    hosts = [f"127.0.0.{last}" for last in range(2, 7)]
    async with serving(Echo()) as port:
        with ExitStack() as mute:
            for host in hosts:
                mute.enter_context(silent(host, port))
            many = dialer(addresses=leading_to(*hosts, "127.0.0.1"), connect_timeout_seconds=0.8)
            with pytest.raises(errors.ConnectTimeout):
                await many.dial(origin(port, tls=False), Client)
            await closed(await many.dial(origin(port, tls=False), Client))


async def test_a_caller_who_leaves_early_says_nothing_of_an_address() -> None:
    """It has not had the time to answer; what is known of the name stays."""
    with silent() as mute:
        one = dialer()
        dial = asyncio.create_task(one.dial(origin(mute[1], tls=False), Client))
        await asyncio.sleep(0.05)
        dial.cancel()
        with pytest.raises(asyncio.CancelledError):
            await dial
        name = one._names.name(NAME, mute[1])
        assert (True, {}) == (name.answer is not None, name.ranks)


async def test_an_address_at_which_tls_fails_is_passed_over(tmp_path: Path) -> None:
    """Another one is tried at once, and this one comes last from then on."""
    good = identity(authority(tmp_path))

    async def close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hung_up.append(True)
        writer.close()

    hung_up: list[bool] = []
    async with serving(Echo(), good) as port:
        bad = await asyncio.start_server(close, "127.0.0.2", port)
        many = dialer(tmp_path, leading_to("127.0.0.2", "127.0.0.1"))
        for _ in range(2):
            await closed(await many.dial(origin(port), Client))
        bad.close()
        await bad.wait_closed()
    assert [True] == hung_up


def expired(issuer: trustme.CA) -> ssl.SSLContext:
    long_ago = datetime(2001, 1, 1, tzinfo=UTC), datetime(2002, 1, 1, tzinfo=UTC)
    return identity(issuer, not_before=long_ago[0], not_after=long_ago[1])


CERTIFICATES = {
    "expired": (expired, "expired.*renew it there"),
    "another name": (lambda issuer: identity(issuer, "other.test"), "base_url to a name"),
    "unknown": (lambda _: identity(trustme.CA()), "upstream.gemini.ca_file"),
}


@pytest.mark.parametrize("kind", CERTIFICATES)
async def test_a_certificate_that_is_not_accepted_is_named(tmp_path: Path, kind: str) -> None:
    """With what helps against it."""
    made, words = CERTIFICATES[kind]
    async with serving(Echo(), made(authority(tmp_path))) as port:
        with pytest.raises(errors.Unreachable, match=words) as raised:
            await dialer(tmp_path).dial(origin(port), Client)
    assert f"the model API at https://api.test:{port} cannot be reached" in raised.value.message


async def hangs_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.close()


async def speaks_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.write(b"HTTP/1.1 400 The plain HTTP request was sent to HTTPS port\r\n\r\n")
    await writer.drain()


async def speaks_first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"SSH-2.0-OpenSSH_9.6\r\n")
    await reader.read()


async def resets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.transport.abort()


@pytest.mark.parametrize("talk", [hangs_up, speaks_http, speaks_first])
async def test_what_speaks_no_tls_is_named(talk: Any) -> None:
    """The address may be an http one."""
    async with serving(talk) as port:
        with pytest.raises(errors.Unreachable, match=r"no TLS session.*https or http"):
            await dialer().dial(origin(port), Client)


async def test_a_handshake_that_is_reset_is_told() -> None:
    """As no TLS."""
    async with serving(resets) as port:
        with pytest.raises(errors.Unreachable, match="no TLS session"):
            await dialer().dial(origin(port), Client)


async def test_a_name_that_is_not_known_is_told() -> None:
    """With the setting that has it."""
    with pytest.raises(errors.Unreachable, match=r"its name cannot be resolved.*base_url"):
        await dialer(addresses=leading_to()).dial(ENCRYPTED, Client)


async def never(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read(1)
    await asyncio.sleep(60)


@pytest.mark.parametrize("where", ["name", "tcp", "tls"])
async def test_the_limit_counts_for_all_of_it(where: str) -> None:
    """For the name, TCP and TLS; the message has the setting's limit and who else is there."""

    async def deaf(host: str, port: int) -> Any:
        await asyncio.sleep(60)

    with silent() as mute:
        async with serving(never) as port:
            to = mute[1] if where == "tcp" else port
            slow = dialer(addresses=deaf if where == "name" else LOCAL, connect_timeout_seconds=0.1)
            with pytest.raises(errors.ConnectTimeout, match=r"within 0.1 s, with 3 other"):
                await slow.dial(origin(to), Client, others=3)
            await slow.aclose()
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("turns", [*range(12), 30, 100])
async def test_leaving_at_any_moment_leaves_nothing_open(tmp_path: Path, turns: int) -> None:
    """Neither a socket nor a task."""
    async with serving(Echo(), identity(authority(tmp_path))) as port:
        one = dialer(tmp_path)
        dial = asyncio.create_task(one.dial(origin(port), Client))
        for _ in range(turns):
            await asyncio.sleep(0)
        if dial.cancel():
            with pytest.raises(asyncio.CancelledError):
                await dial
        else:
            await closed(dial.result())
        await one.aclose()
        await asyncio.sleep(0.02)
