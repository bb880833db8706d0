"""A server that is not reached is said to be so, with the cause and what to do."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from gemini_backend_client import AsyncClient, Client, UnavailableError
from gemini_backend_client.connection.reach import lost, too_late, unreached

if TYPE_CHECKING:
    from collections.abc import Iterator

ALL = "failed to connect to all addresses; last error: "


@pytest.mark.parametrize(
    ("message", "cause"),
    [
        (
            ALL + "UNKNOWN: ipv4:1.2.3.4:5: Failed to connect: Connection refused",
            "no server listens",
        ),
        ("errors resolving x:1: address lookup failed: Domain name not found", "be resolved"),
        ("DNS resolution failed for x:1: C-ares status", "be resolved"),
        (ALL + "Failed parsing HTTP/2 (Expected SETTINGS frame)", "does not speak gRPC"),
        (ALL + "Trying to connect an http1.x server", "does not speak gRPC"),
        (ALL + "Ssl handshake failed: CERTIFICATE_VERIFY_FAILED", "certificate"),
        (ALL + "Ssl handshake failed: WRONG_VERSION_NUMBER", "no TLS session"),
        (ALL + "UNKNOWN: ipv4:1.2.3.4:5: connect: Connection timed out", "no answer"),
        (ALL + "something new", "something new"),
    ],
)
def test_the_cause_is_named_in_our_own_words(message: str, cause: str) -> None:
    """The address comes first, then that it cannot be reached, then why and what to do."""
    sentence = unreached("host:1", message)
    assert sentence.startswith("host:1 cannot be reached")
    assert cause in sentence


@pytest.mark.parametrize("message", ["Socket closed", "recvmsg:Connection reset by peer"])
def test_a_connection_that_was_there_is_lost(message: str) -> None:
    """A server that ends in the middle of a call had been reached."""
    assert lost(message)
    assert "was lost" in unreached("host:1", message)
    assert not lost(ALL + message)


def test_a_deadline_without_a_connection_says_so() -> None:
    """It is not the answer that took too long."""
    assert "cannot be reached within 2 s" in too_late("host:1", 2, connected=False)
    assert "did not complete the answer in time" in too_late("host:1", None, connected=True)


@contextmanager
def silent() -> Iterator[str]:
    """Listen without ever saying a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


@contextmanager
def nobody() -> Iterator[str]:
    """Hold a port on which nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{held.getsockname()[1]}"


def blocked(client: Client, method: str) -> None:
    """Make a call of a kind."""
    if method == "process":
        client.process("hi")
    elif method == "execute":
        list(client.execute("hi"))
    else:
        list(client.models.list())


async def waited(client: AsyncClient, method: str) -> None:
    """Make a call of a kind."""
    if method == "process":
        await client.process("hi")
    elif method == "execute":
        [piece async for piece in client.execute("hi")]
    else:
        [model async for model in client.models.list()]


@pytest.mark.parametrize("server", [silent, nobody])
@pytest.mark.parametrize("method", ["process", "execute", "list"])
async def test_neither_client_waits_for_nobody_or_blames_the_answer(
    server: object, method: str
) -> None:
    """Within its time each kind of call fails with the address and that it cannot be reached."""
    with server() as target:  # type: ignore[operator]
        with Client(target, timeout=0.5) as client, pytest.raises(UnavailableError) as blocking:
            blocked(client, method)
        async with AsyncClient(target, timeout=0.5) as other:
            with pytest.raises(UnavailableError) as awaited:
                await waited(other, method)
    assert f"{target} cannot be reached" in str(blocking.value)
    assert f"{target} cannot be reached" in str(awaited.value)
