"""The addresses of names: a small cache before the system's resolver."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from gemini_backend.clock import Clock

    SocketAddress = tuple[Any, ...]
    AddressInfo = tuple[int, int, int, str, SocketAddress]
    Resolve = Callable[[str, int], Awaitable[Sequence[AddressInfo]]]

_FRESH_SECONDS = 30.0
_STALE_SECONDS = 600.0
_FAILURE_SECONDS = 1.0
_MOST_NAMES = 64
_MOST_ADDRESSES = 32
_FIRST, _LAST = -1, 1
# there is no such name, or it has no address: an answer, where others are failures of the resolver
_DENIALS = {
    getattr(socket, name)
    for name in ("EAI_NONAME", "EAI_NODATA", "EAI_ADDRFAMILY")
    if hasattr(socket, name)
}


@dataclass(slots=True, eq=False)
class Answer:
    """What a name resolves to.

    Attributes:
        at: When it was looked up.
        addresses: In the order in which they are to be tried; empty with `error`.
        error: Why there are none.
        good: Whether a connection has been made to one of them.
    """

    at: float
    addresses: list[AddressInfo] = field(default_factory=list)
    error: OSError | None = None
    good: bool = False

    def lasts(self) -> float:
        """Return for how many seconds nobody has to wait for another one."""
        if self.error is not None:
            return _FAILURE_SECONDS
        return _STALE_SECONDS if self.good else _FRESH_SECONDS


@dataclass(slots=True, eq=False)
class Name:
    """A name that was dialed, with its port.

    Attributes:
        host: The name, or an address.
        port: The TCP port.
        answer: What it resolves to; None before the first lookup, and where that was of no use.
        lookup: The lookup under way; None for none.
        ranks: Addresses that are to be tried before the others, or after them.
    """

    host: str
    port: int
    answer: Answer | None = None
    lookup: asyncio.Task[Answer] | None = None
    ranks: dict[SocketAddress, int] = field(default_factory=dict)

    def works(self, answer: Answer, address: SocketAddress) -> None:
        """Note that a connection was made to an address; it is tried first from now on."""
        answer.good = True
        if answer.addresses[0][4] != address:
            self.ranks = {one: rank for one, rank in self.ranks.items() if rank == _LAST}
            self._rank(address, _FIRST)

    def fails(self, address: SocketAddress) -> None:
        """Note that what listens at an address is of no use; it is tried last from now on."""
        self._rank(address, _LAST)

    def forget(self, answer: Answer) -> None:
        """Have the name looked up anew: none of the addresses could be reached."""
        if self.answer is answer:
            self.answer = None

    def take(self, answer: Answer) -> Answer:
        """Keep an answer, in the order that was learnt; return what holds now.

        Where the resolver only failed, an earlier answer that is good holds on.
        """
        before = self.answer
        if answer.error is not None and before is not None and before.good:
            denied = isinstance(answer.error, socket.gaierror) and answer.error.errno in _DENIALS
            if not denied and answer.at - before.at < _STALE_SECONDS:
                return before
        self.answer = answer
        known = {info[4] for info in answer.addresses}
        self.ranks = {one: rank for one, rank in self.ranks.items() if one in known}
        self._arrange()
        return answer

    def _rank(self, address: SocketAddress, rank: int) -> None:
        self.ranks[address] = rank
        self._arrange()

    def _arrange(self) -> None:
        if self.ranks and self.answer is not None:
            self.answer.addresses.sort(key=lambda info: self.ranks.get(info[4], 0))


class Names:
    """The addresses of the names that were dialed lately.

    An answer holds for 30 s. For 10 min it goes on being used, if connections have been made with
    it, while a new one is looked up beside: a resolver that is slow or down for a while delays
    nothing. A failure holds for 1 s. A name has one lookup under way, whoever waits for it. Of more
    than 64 names the one that was first dialed is forgotten; of more than 32 addresses of a name
    the rest is not tried.
    """

    def __init__(self, clock: Clock, resolve: Resolve | None = None) -> None:
        """Know no name yet; `resolve` is by default the resolver of the running loop."""
        self._clock = clock
        self._resolve = resolve or _by_the_system
        self._names: dict[tuple[str, int], Name] = {}

    def name(self, host: str, port: int) -> Name:
        """Return what is known of a name."""
        name = self._names.get((host, port))
        if name is None:
            name = self._names[host, port] = Name(host, port)
            if len(self._names) > _MOST_NAMES:
                del self._names[next(iter(self._names))]
        return name

    async def answer(self, name: Name) -> Answer:
        """Return the addresses of a name; a literal address is its own.

        Raises:
            OSError: it has none, or the resolver failed; mostly a `socket.gaierror`.
        """
        answer = name.answer
        age = 0.0 if answer is None else self._clock.now() - answer.at
        if answer is None or age >= answer.lasts():
            answer = await asyncio.shield(self._lookup(name))
        elif answer.error is None and age >= _FRESH_SECONDS:
            self._lookup(name)
        if answer.error is not None:
            raise type(answer.error)(*answer.error.args)
        return answer

    async def aclose(self) -> None:
        """End the lookups under way; those who wait for them are cancelled."""
        lookups = [name.lookup for name in self._names.values() if name.lookup is not None]
        for lookup in lookups:
            lookup.cancel()
        await asyncio.gather(*lookups, return_exceptions=True)

    def _lookup(self, name: Name) -> asyncio.Task[Answer]:
        if name.lookup is None:
            name.lookup = asyncio.create_task(self._look_up(name))
        return name.lookup

    async def _look_up(self, name: Name) -> Answer:
        try:
            return name.take(await self._asked(name.host, name.port))
        finally:
            name.lookup = None

    async def _asked(self, host: str, port: int) -> Answer:
        found: Sequence[AddressInfo] = ()
        error = socket.gaierror(socket.EAI_NONAME, "the name has no address")
        try:
            found = await self._resolve(host, port)
        except UnicodeError:  # no name can be like this
            pass
        except OSError as failure:
            return Answer(self._clock.now(), error=failure)
        # one may be named twice
        addresses = list({info[4]: info for info in found}.values())[:_MOST_ADDRESSES]
        return Answer(self._clock.now(), addresses, None if addresses else error)


async def _by_the_system(host: str, port: int) -> Sequence[AddressInfo]:
    return await asyncio.get_running_loop().getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=getattr(socket, "AI_ADDRCONFIG", 0)
    )
