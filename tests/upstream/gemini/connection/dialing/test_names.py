"""Addresses of names: remembered for a while, and put into the order of their use."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest

from gemini_backend.upstream.gemini.connection.dialing.names import Names
from tests.support.clock import FakeClock, settle

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gemini_backend.upstream.gemini.connection.dialing.names import AddressInfo

HOST, PORT = "api.test", 443


def info(address: str) -> AddressInfo:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return (family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, PORT))


class Resolver:
    """Answers with what it has in hand, once it may."""

    def __init__(self, *addresses: str) -> None:
        self.addresses: Sequence[str] = addresses
        self.error: Exception | None = None
        self.asked: list[str] = []
        self.may = asyncio.Event()
        self.may.set()

    async def __call__(self, host: str, port: int) -> list[AddressInfo]:
        self.asked.append(host)
        await self.may.wait()
        if self.error is not None:
            raise self.error
        return [info(address) for address in self.addresses]


class Scene:
    """A name with its resolver and a clock."""

    def __init__(self, *addresses: str) -> None:
        self.clock = FakeClock()
        self.resolver = Resolver(*addresses)
        self.names = Names(self.clock, self.resolver)
        self.name = self.names.name(HOST, PORT)

    async def look(self) -> list[str]:
        """Return the addresses in the order in which they are to be tried."""
        answer = await self.names.answer(self.name)
        return [one[4][0] for one in answer.addresses]

    async def use(self, address: str) -> None:
        """Connect to an address."""
        self.name.works(await self.names.answer(self.name), (address, PORT))

    @property
    def times(self) -> int:
        return len(self.resolver.asked)


async def test_one_lookup_serves_all_who_wait() -> None:
    """However many ask for a name at once."""
    scene = Scene("192.0.2.1")
    scene.resolver.may.clear()
    waiting = [asyncio.create_task(scene.look()) for _ in range(10)]
    await settle()
    scene.resolver.may.set()
    assert [["192.0.2.1"]] * 10 == await asyncio.gather(*waiting)
    assert 1 == scene.times


async def test_one_who_leaves_takes_the_lookup_from_nobody() -> None:
    """It goes on, for the others and for the next."""
    scene = Scene("192.0.2.1")
    scene.resolver.may.clear()
    leaver, stayer = asyncio.create_task(scene.look()), asyncio.create_task(scene.look())
    await settle()
    leaver.cancel()
    await settle()
    scene.resolver.may.set()
    assert ["192.0.2.1"] == await stayer
    assert (True, 1) == (leaver.cancelled(), scene.times)


async def test_an_answer_holds_for_30_seconds() -> None:
    """Then the next dial waits for another one, unless the answer has been of use."""
    scene = Scene("192.0.2.1")
    await scene.look()
    await scene.clock.advance(29)
    await scene.look()
    assert 1 == scene.times
    await scene.clock.advance(1)
    scene.resolver.addresses = ["192.0.2.2"]
    assert ["192.0.2.2"] == await scene.look()


async def test_a_good_answer_is_used_while_a_new_one_is_looked_up() -> None:
    """Nobody waits for the resolver; after 10 minutes without one they do."""
    scene = Scene("192.0.2.1")
    await scene.use("192.0.2.1")
    scene.resolver.addresses = ["192.0.2.2"]
    scene.resolver.may.clear()
    for seconds in (30, 569):
        await scene.clock.advance(seconds)
        assert ["192.0.2.1"] == await scene.look()
    await settle()
    assert 2 == scene.times
    await scene.clock.advance(1)
    waiting = asyncio.create_task(scene.look())
    await settle()
    assert not waiting.done()
    scene.resolver.may.set()
    assert ["192.0.2.2"] == await waiting


async def test_a_failure_holds_for_a_second() -> None:
    """A herd asks the resolver once; the next call soon after asks anew."""
    scene = Scene()
    scene.resolver.error = socket.gaierror(socket.EAI_NONAME, "no such name")
    for _ in range(3):
        with pytest.raises(socket.gaierror, match="no such name"):
            await scene.look()
    assert 1 == scene.times
    scene.resolver.error, scene.resolver.addresses = None, ["192.0.2.1"]
    await scene.clock.advance(1)
    assert ["192.0.2.1"] == await scene.look()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (socket.gaierror(socket.EAI_AGAIN, "the resolver is down"), ["192.0.2.1"]),
        (OSError("the resolver is down"), ["192.0.2.1"]),
        (socket.gaierror(socket.EAI_NONAME, "no such name"), None),
    ],
)
async def test_a_resolver_that_fails_takes_no_good_answer_away(
    error: OSError, expected: list[str] | None
) -> None:
    """One that says that the name is gone does."""
    scene = Scene("192.0.2.1")
    await scene.use("192.0.2.1")
    scene.resolver.error = error
    await scene.clock.advance(60)
    await scene.look()
    await settle()
    if expected is not None:
        assert expected == await scene.look()
    else:
        with pytest.raises(socket.gaierror, match="no such name"):
            await scene.look()


async def test_what_could_not_be_reached_is_looked_up_anew() -> None:
    """At once, however young the answer is."""
    scene = Scene("192.0.2.1")
    answer = await scene.names.answer(scene.name)
    scene.name.forget(answer)
    scene.resolver.addresses = ["192.0.2.2"]
    assert ["192.0.2.2"] == await scene.look()
    scene.name.forget(answer)  # by one who came later to know
    await scene.look()
    assert 2 == scene.times


async def test_the_address_that_works_comes_first() -> None:
    """Also in later answers, whatever their order, until another one had to be used."""
    scene = Scene("192.0.2.1", "192.0.2.2", "192.0.2.3")
    await scene.use("192.0.2.3")
    assert ["192.0.2.3", "192.0.2.1", "192.0.2.2"] == await scene.look()
    scene.resolver.addresses = ["192.0.2.2", "192.0.2.1", "192.0.2.3"]
    await scene.clock.advance(700)
    assert ["192.0.2.3", "192.0.2.2", "192.0.2.1"] == await scene.look()
    await scene.use("192.0.2.1")
    assert "192.0.2.1" == (await scene.look())[0]
    await scene.clock.advance(700)
    assert ["192.0.2.1", "192.0.2.2", "192.0.2.3"] == await scene.look()


async def test_the_address_that_is_of_no_use_comes_last() -> None:
    """Until it is of use, or gone from the answers."""
    scene = Scene("192.0.2.1", "192.0.2.2", "192.0.2.3")
    await scene.look()
    scene.name.fails(("192.0.2.1", PORT))
    assert ["192.0.2.2", "192.0.2.3", "192.0.2.1"] == await scene.look()
    scene.name.fails(("192.0.2.2", PORT))
    await scene.use("192.0.2.1")
    assert ["192.0.2.1", "192.0.2.3", "192.0.2.2"] == await scene.look()
    scene.resolver.addresses = ["192.0.2.4"]
    await scene.clock.advance(700)
    assert ["192.0.2.4"] == await scene.look()
    assert {} == scene.name.ranks


async def test_an_address_counts_once_and_32_count() -> None:
    """The rest of an endless answer is not tried."""
    scene = Scene("192.0.2.1", "192.0.2.1", *(f"198.51.100.{last}" for last in range(100)))
    addresses = await scene.look()
    assert (32, 1) == (len(addresses), addresses.count("192.0.2.1"))


@pytest.mark.parametrize("error", [None, UnicodeError("label too long")])
async def test_no_address_is_no_name(error: Exception | None) -> None:
    """An empty answer, and a name that cannot be one, read as any that is not known."""
    scene = Scene()
    scene.resolver.error = error
    with pytest.raises(socket.gaierror):
        await scene.look()


async def test_64_names_are_remembered() -> None:
    """The one that was dialed first is forgotten."""
    scene = Scene("192.0.2.1")
    await scene.look()
    for number in range(64):
        await scene.names.answer(scene.names.name(f"{number}.test", PORT))
    assert scene.name is not scene.names.name(HOST, PORT)
    assert 64 == len(scene.names._names)


async def test_the_end_waits_for_no_resolver() -> None:
    """Lookups under way are ended."""
    scene = Scene("192.0.2.1")
    scene.resolver.may.clear()
    waiting = asyncio.create_task(scene.look())
    await settle()
    await scene.names.aclose()
    await settle()
    assert waiting.cancelled()


async def test_the_loops_own_resolver_is_the_default() -> None:
    """A literal address is its own."""
    names = Names(FakeClock())
    for address in ("127.0.0.1", "::1"):
        answer = await names.answer(names.name(address, PORT))
        assert [(address, PORT)] == [one[4][:2] for one in answer.addresses]
