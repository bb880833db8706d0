"""Sockets that notice a dead path."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING

import pytest

from gemini_backend import errors
from gemini_backend.upstream.gemini.connection.sockets import watched
from tests.support.upstreams.http_clients import in_use, open_idle
from tests.upstream.gemini.connection.test_desync import count, request_of, whole
from tests.upstream.gemini.connection.test_transport import HEAD, REQUEST, chunk, new_call, talking

if TYPE_CHECKING:
    import asyncio

INFO = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", 1))


def options_of(time_seconds: float, timeout_seconds: float) -> tuple[int, ...]:
    """Return what the kernel is told: whether to probe, when, how often, and until when."""
    with watched(time_seconds, timeout_seconds)(INFO) as made:
        return (
            made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
            *(
                made.getsockopt(socket.IPPROTO_TCP, option)
                for option in (
                    socket.TCP_KEEPIDLE,
                    socket.TCP_KEEPINTVL,
                    socket.TCP_KEEPCNT,
                    socket.TCP_USER_TIMEOUT,
                )
            ),
        )


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="Linux's own options")
def test_the_kernel_is_told_when_to_give_up() -> None:
    """After the silence, and three unanswered probes within the time for a sign of life."""
    assert (1, 30, 10, 3, 60_000) == options_of(30, 30)
    assert (1, 1, 1, 3, 4000) == options_of(0.2, 1)
    assert (0, 0) == options_of(0, 30)[::4]


async def test_every_connection_is_watched() -> None:
    """As the options say."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(whole({"totalTokens": 1}))
        await reader.read()

    async with talking(serve, tcp_keepalive_time_seconds=7) as (upstream, _):
        await count(upstream, 1)
        (connection,) = open_idle(upstream)
        sock = connection.get_extra_info("socket")
        assert 7 == sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)


def gone(connection: asyncio.Transport, number: int = errno.ETIMEDOUT) -> None:
    """Play the kernel that has given a connection up."""
    error = OSError(number, "gone")
    connection._fatal_error(error)  # type: ignore[attr-defined]


@pytest.mark.parametrize("number", [errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH])
async def test_a_path_that_dies_before_an_answer_is_named(number: int) -> None:
    """It is not tried again on the quiet: the model may be at work on it."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(whole({"totalTokens": 1}))
        await request_of(reader)
        for connection in in_use(upstream):
            gone(connection, number)

    async with talking(serve) as (upstream, seen):
        await count(upstream, 1)
        with pytest.raises(errors.Unreachable, match="tcp_keepalive"):
            await count(upstream, 2)
        assert 1 == len(seen)


async def test_a_path_that_dies_within_an_answer_is_named() -> None:
    """What came before is delivered."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        event = b'data: {"candidates": [{"content": {"parts": [{"text": "a"}]}}]}\r\n\r\n'
        writer.write(HEAD + chunk(event))
        await reader.read()

    async with talking(serve) as (upstream, _):
        with pytest.raises(errors.StreamCut, match="tcp_keepalive"):
            async for event in upstream.stream(new_call(), REQUEST):
                if event.HasField("delta"):
                    for connection in in_use(upstream):
                        gone(connection)
