"""TLS sessions that are taken up again, and when they are not.

Covers: upstream/gemini/connection/dialing/encryption.py
"""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING

import pytest

from gemini_backend import errors
from gemini_backend.upstream.gemini.connection.dialing.dialer import Dialer
from gemini_backend.upstream.gemini.options import GeminiOptions
from tests.support.clock import FakeClock
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
from tests.upstream.gemini.connection.test_proxy import pump

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("nothing_left_open")

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


def dialer(folder: Path, clock: FakeClock | None = None) -> Dialer:
    """Return a dialer that trusts the authority of a folder."""
    options = GeminiOptions(base_url="https://api.test", ca_file=str(folder / "ca.pem"))
    return Dialer(options, clock or FakeClock(), leading_to("127.0.0.1"))


async def exchange(one: Dialer, port: int, host: str = NAME) -> None:
    """Connect, have an answer, learn of it, and close."""
    made = await one.dial(origin(port, host=host), Client)
    await asked(made)
    one.learn(made[0])
    await closed(made)


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_session_is_taken_up_again(tmp_path: Path, version: ssl.TLSVersion) -> None:
    """By each connection after the first; counted by the server."""
    context, echo = identity(authority(tmp_path)), Echo()
    context.maximum_version = version
    one = dialer(tmp_path)
    async with serving(echo, context) as port:
        for _ in range(4):
            await exchange(one, port)
    assert [False, True, True, True] == echo.resumed


async def test_a_session_that_is_refused_costs_a_full_handshake(tmp_path: Path) -> None:
    """As where the server has been started anew, and does not know its tickets."""
    issuer, echo = authority(tmp_path), Echo()
    one = dialer(tmp_path)
    for _ in range(2):
        async with serving(echo, identity(issuer)) as port:
            await exchange(one, port)
    assert [False, False] == echo.resumed


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_certificate_is_looked_at_once_an_hour(
    tmp_path: Path, version: ssl.TLSVersion
) -> None:
    """However often a session has been taken up again, and renewed, in between."""
    context, echo, clock = identity(authority(tmp_path)), Echo(), FakeClock()
    context.maximum_version = version
    one = dialer(tmp_path, clock)
    async with serving(echo, context) as port:
        for _ in range(4):
            await exchange(one, port)
            await clock.advance(1300)
    assert [False, True, True, False] == echo.resumed


async def test_a_session_is_its_hosts_own(tmp_path: Path) -> None:
    """Another name is looked at by itself, also where it is the same server."""
    context, echo = identity(authority(tmp_path)), Echo()
    one = dialer(tmp_path)
    async with serving(echo, context) as port:
        await exchange(one, port)
        with pytest.raises(errors.Unreachable, match="certificate"):
            await exchange(one, port, "other.test")
        await exchange(one, port)
    assert [False, True] == echo.resumed


async def test_16_hosts_have_a_session(tmp_path: Path) -> None:
    """The oldest is dropped for one more."""
    names = [f"{number}.test" for number in range(17)]
    context = identity(authority(tmp_path), *names)
    one = dialer(tmp_path)
    async with serving(Echo(), context) as port:
        for name in names:
            await exchange(one, port, name)
    assert names[1:] == list(one._tls._sessions)


async def test_nothing_is_learnt_of_what_is_not_there(tmp_path: Path) -> None:
    """A plain connection, and one by TLS on which nothing has been read."""
    authority(tmp_path)
    one = dialer(tmp_path)
    async with serving(Echo()) as port:
        made = await one.dial(origin(port, tls=False), Client)
        one.learn(made[0])
        await closed(made)
    assert {} == one._tls._sessions


async def test_a_server_that_breaks_off_at_a_session_gets_a_full_handshake(tmp_path: Path) -> None:
    """At once, as part of the same dial."""
    context, echo = identity(authority(tmp_path)), Echo()
    hellos: list[int] = []

    async def strict(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hang up on whoever offers a session: its first message is the longer one."""
        hello = await reader.read(65536)
        hellos.append(len(hello))
        if len(hello) > hellos[0]:
            return
        far, forth = await asyncio.open_connection("127.0.0.1", port)
        forth.write(hello)
        await asyncio.gather(pump(reader, forth), pump(far, writer))

    one = dialer(tmp_path)
    async with serving(echo, context) as port, serving(strict) as front:
        for _ in range(2):
            await exchange(one, front)
    assert ([hellos[0], hellos[0]], [False, False]) == (hellos[::2], echo.resumed)


async def test_a_file_of_authorities_that_is_gone_is_told_at_once(tmp_path: Path) -> None:
    """When the dialer is made, not at the first call."""
    with pytest.raises(FileNotFoundError):
        dialer(tmp_path)


async def test_a_session_that_cannot_be_used_is_not_offered(tmp_path: Path) -> None:
    """OpenSSL refuses that of another context; a full handshake follows."""
    context, echo = identity(authority(tmp_path)), Echo()
    one, other = dialer(tmp_path), dialer(tmp_path)
    async with serving(echo, context) as port:
        await exchange(one, port)
        other._tls._sessions.update(one._tls._sessions)
        await exchange(other, port)
    assert [False, False] == echo.resumed
