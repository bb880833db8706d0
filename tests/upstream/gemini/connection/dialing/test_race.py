"""Happy eyeballs: the first address that answers wins, and the others are closed."""

from __future__ import annotations

import asyncio
import errno
import socket
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from gemini_backend.upstream.gemini.connection.dialing import race
from gemini_backend.upstream.gemini.connection.dialing.race import connected

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gemini_backend.upstream.gemini.connection.dialing.names import AddressInfo
    from gemini_backend.upstream.gemini.connection.dialing.race import MakeSocket

pytestmark = pytest.mark.usefixtures("nothing_left_open")


def made(info: AddressInfo) -> socket.socket:
    return socket.socket(info[0], info[1], info[2])


def info(address: tuple[str, int]) -> AddressInfo:
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    return (family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address)


@contextmanager
def listening(host: str = "127.0.0.1") -> Iterator[tuple[str, int]]:
    """Have somebody listen at a free port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.bind((host, 0))
        listener.listen()
        yield listener.getsockname()[:2]


@contextmanager
def refusing() -> Iterator[tuple[str, int]]:
    """Keep a port at which nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()


@contextmanager
def silent(host: str = "127.0.0.1", port: int = 0) -> Iterator[tuple[str, int]]:
    """Have a port that does not answer: nobody accepts, and its queue is full."""
    with socket.socket() as listener, socket.socket() as one, socket.socket() as two:
        listener.bind((host, port))
        listener.listen(0)
        for caller in (one, two):
            caller.setblocking(False)
            caller.connect_ex(listener.getsockname())
        yield listener.getsockname()


async def test_one_of_ten_addresses_that_works_is_found() -> None:
    """It does not take as long as to give up on the others."""
    with refusing() as closed, listening() as open_:
        addresses = [info(closed)] * 9 + [info(open_)]
        start = time.monotonic()
        sock, address = await connected(addresses, made)
        with sock:
            assert (open_, open_) == (address, sock.getpeername())
        assert time.monotonic() - start < 0.2


async def test_silence_gives_the_next_its_turn() -> None:
    """After 250 ms, while the first is waited for."""
    with silent() as mute, listening() as open_:
        start = time.monotonic()
        sock, address = await connected([info(mute), info(mute), info(open_)], made)
        sock.close()
        assert open_ == address
        assert 0.5 <= time.monotonic() - start < 1.5


async def test_the_families_take_turns() -> None:
    """The first address's is the first."""
    tried: list[int] = []

    def noted(one: AddressInfo) -> socket.socket:
        tried.append(one[0])
        return made(one)

    with refusing() as closed, pytest.raises(ConnectionRefusedError):
        six = info(("::1", closed[1]))
        await connected([six, six, info(closed), info(closed)], noted)
    assert [socket.AF_INET6, socket.AF_INET] * 2 == tried


@pytest.mark.parametrize("times", [1, 3])
async def test_why_nobody_answered_is_told_by_its_number(times: int) -> None:
    """Where it is the same for all."""
    with refusing() as closed, pytest.raises(ConnectionRefusedError) as raised:
        await connected([info(closed)] * times, made)
    assert errno.ECONNREFUSED == raised.value.errno


async def test_a_want_of_descriptors_is_told_before_all_else() -> None:
    """Whatever became of the other addresses."""
    sockets = iter([made])

    def one(address: AddressInfo) -> socket.socket:
        for make in sockets:
            return make(address)
        raise OSError(errno.EMFILE, "too many open files")

    with refusing() as closed, pytest.raises(OSError, match="too many") as raised:
        await connected([info(closed), info(closed)], one)
    assert errno.EMFILE == raised.value.errno


@pytest.mark.parametrize("seconds", [0.0, 0.1, 0.35])
async def test_giving_up_closes_all_that_was_tried(seconds: float) -> None:
    """Whenever it comes."""
    with silent() as mute:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(seconds):
                await connected([info(mute)] * 4, made)
        await asyncio.sleep(0.05)


async def test_a_cancel_is_never_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is where it comes while the losers are being closed: the library awaits them."""
    with listening() as open_:

        async def deaf(
            addresses: list[AddressInfo], *, socket_factory: MakeSocket, **_: Any
        ) -> Any:
            sock = socket_factory(addresses[0])
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(60)
            return sock

        monkeypatch.setattr(race, "start_connection", deaf)
        dial = asyncio.create_task(connected([info(open_)], made))
        await asyncio.sleep(0)
        dial.cancel()
        with pytest.raises(asyncio.CancelledError):
            await dial
