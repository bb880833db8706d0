"""One TCP connection, with TLS on it or without: to the model API, or to a proxy."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from gemini_backend.descriptors import ran_out
from gemini_backend.upstream.gemini.connection.dialing.encryption import Held, encrypted, hung_up
from gemini_backend.upstream.gemini.connection.dialing.race import connected

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from gemini_backend.upstream.gemini.connection.dialing.names import (
        AddressInfo,
        Answer,
        Name,
        Names,
        SocketAddress,
    )
    from gemini_backend.upstream.gemini.connection.dialing.origin import Origin
    from gemini_backend.upstream.gemini.connection.dialing.tls import Tls

    MakeSocket = Callable[[AddressInfo], socket.socket]

_LONG_SECONDS = 0.5
"""Without an answer for so long, an address counts as one that does not answer."""
_P = TypeVar("_P", bound=asyncio.Protocol)


class Hops:
    """Reaches hosts, at whichever of their addresses is of use."""

    def __init__(self, names: Names, tls: Tls, make_socket: MakeSocket) -> None:
        """Look up hosts by `names`, and take up sessions of `tls`."""
        self._names = names
        self._tls = tls
        self._make_socket = make_socket

    async def reach(
        self, origin: Origin, protocol_factory: Callable[[], _P]
    ) -> tuple[asyncio.Transport, _P]:
        """Return a connection to an origin.

        Where TLS fails at one address, another is tried, each once; and the same again with a full
        handshake where an earlier session had been offered.

        Raises:
            OSError: there is none; what TLS raised, where that failed.
        """
        name = self._names.name(origin.host, origin.port)
        useless: set[SocketAddress] = set()
        while True:
            sock, address, answer = await self._socket(name, useless)
            offered = origin.tls and self._tls.session(origin.host) is not None
            try:
                made = await self._attached(sock, origin, protocol_factory)
            except BaseException as error:
                name.fails(address)
                if offered:
                    self._tls.forget(origin.host)
                else:
                    useless.add(address)
                more = any(info[4] not in useless for info in answer.addresses)
                if not isinstance(error, OSError):
                    raise
                if more:
                    continue
                name.forget(answer)
                raise
            name.works(answer, address)
            return made

    async def _socket(
        self, name: Name, useless: set[SocketAddress]
    ) -> tuple[socket.socket, SocketAddress, Answer]:
        """Return a socket that is connected to a host, at an address that is not yet useless."""
        first = name.answer
        answer = await self._names.answer(name)
        try:
            return await self._raced(name, answer, useless)
        except OSError as error:
            name.forget(answer)
            if ran_out(error) or answer is not first:  # it has just been looked up
                raise
            tried = useless | {info[4] for info in answer.addresses}
            answer = await self._names.answer(name)
            if all(info[4] in tried for info in answer.addresses):
                raise
        return await self._raced(name, answer, tried)

    async def _raced(
        self, name: Name, answer: Answer, without: set[SocketAddress]
    ) -> tuple[socket.socket, SocketAddress, Answer]:
        tried: list[SocketAddress] = []
        started = asyncio.get_running_loop().time()

        def make(info: AddressInfo) -> socket.socket:
            tried.append(info[4])
            return self._make_socket(info)

        addresses = [info for info in answer.addresses if info[4] not in without]
        try:
            return *await connected(addresses, make), answer
        except asyncio.CancelledError:
            if asyncio.get_running_loop().time() - started >= _LONG_SECONDS:
                # time ran out over addresses at which nobody answers: the next dial takes others
                for address in tried:
                    name.fails(address)
                name.forget(answer)
            raise

    async def _attached(
        self, sock: socket.socket, origin: Origin, protocol_factory: Callable[[], _P]
    ) -> tuple[asyncio.Transport, _P]:
        loop = asyncio.get_running_loop()
        try:
            if not origin.tls:
                return await loop.create_connection(protocol_factory, sock=sock)
            transport, held = await loop.create_connection(Held, sock=sock)
        except BaseException:
            sock.close()
            raise
        if not held.empty:  # it was not for TLS, which the caller's side begins
            transport.abort()
            raise hung_up()
        return await encrypted(transport, origin.host, self._tls, protocol_factory)
