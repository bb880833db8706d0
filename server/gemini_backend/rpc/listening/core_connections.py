"""The connections of the gRPC port, as gRPC's core lists them: channelz, which is always there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
from grpc._cython import cygrpc  # type: ignore[attr-defined]  # grpcio-channelz asks it too

if TYPE_CHECKING:
    from collections.abc import Iterator

_PAGE = 500


class _Ref(msgspec.Struct):
    name: str = ""
    socketId: str = "0"  # noqa: N815 - channelz' name
    serverId: str = "0"  # noqa: N815 - channelz' name


class _Server(msgspec.Struct):
    ref: _Ref


class _Servers(msgspec.Struct):
    server: list[_Server] = []


class _Sockets(msgspec.Struct):
    socketRef: list[_Ref] = []  # noqa: N815 - channelz' name
    end: bool = False


class CoreConnections:
    """Lists the open connections of one server; their numbers only grow."""

    def __init__(self, server: int) -> None:
        """Look at the server of this number."""
        self._server = server
        self._latest = 0

    @classmethod
    def of_newest(cls) -> CoreConnections:
        """Look at the server that was made last in this process."""
        newest, found = 0, _servers(0)
        while found:
            newest = found[-1]
            found = _servers(newest + 1)
        return cls(newest)

    def opened(self) -> list[str]:
        """Return the peers of those opened since it was last asked, and open still."""
        peers: list[str] = []
        for page in self._pages(self._latest + 1):
            peers += (_peer(one) for one in page)
            self._latest = int(page[-1].socketId)
        return peers

    async def all(self) -> set[str]:
        """Return the peers of all that are open; others get their turn between two pages."""
        peers: set[str] = set()
        for page in self._pages(0):
            peers.update(_peer(one) for one in page)
            await asyncio.sleep(0)
        return peers

    def _pages(self, start: int) -> Iterator[list[_Ref]]:
        while True:
            data = cygrpc.channelz_get_server_sockets(self._server, start, _PAGE)
            found = msgspec.json.decode(data, type=_Sockets)
            if found.socketRef:
                yield found.socketRef
                start = int(found.socketRef[-1].socketId) + 1
            if found.end or not found.socketRef:
                return


def _peer(found: _Ref) -> str:
    """Return the peer of a connection, as the context of an RPC names it."""
    return found.name.rpartition(" ")[2]


def _servers(start: int) -> list[int]:
    found = msgspec.json.decode(cygrpc.channelz_get_servers(start), type=_Servers)
    return [int(one.ref.serverId) for one in found.server]
