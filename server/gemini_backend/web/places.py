"""How many connections there may be, in all and from one address."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_backend.config.network.peers import network_of

if TYPE_CHECKING:
    from gemini_backend.telemetry.events import Refusal


class Places:
    """Bounds the connections of one port; bounded itself by them."""

    def __init__(self, most: int, most_per_peer: int = 0) -> None:
        """Let in `most` connections, of one address `most_per_peer`; 0 there for no limit."""
        self._most = most
        self._most_per_peer = most_per_peer
        self._by_peer: dict[str, int] = {}
        self.taken = 0

    def refusal(self, host: str) -> Refusal | None:
        """Return why a connection from `host` is not let in; None where it is."""
        if self.taken >= self._most:
            return "too_many"
        limit = self._most_per_peer
        if limit and self._by_peer.get(network_of(host), 0) >= limit:
            return "too_many_of_peer"
        return None

    def take(self, host: str) -> Place:
        """Let in a connection."""
        peer = network_of(host)
        self.taken += 1
        self._by_peer[peer] = self._by_peer.get(peer, 0) + 1
        return Place(self, peer)

    def left(self, peer: str) -> None:
        """Take note that a connection of a peer has ended."""
        self.taken -= 1
        count = self._by_peer[peer] - 1
        if count:
            self._by_peer[peer] = count
        else:
            del self._by_peer[peer]


class Place:
    """The place of one connection; it is given back once, however often it is left."""

    __slots__ = ("_peer", "_places")

    def __init__(self, places: Places, peer: str) -> None:
        """Belong to a connection of `peer`."""
        self._places: Places | None = places
        self._peer = peer

    def leave(self) -> None:
        """Give the place back."""
        places, self._places = self._places, None
        if places is not None:
            places.left(self._peer)
