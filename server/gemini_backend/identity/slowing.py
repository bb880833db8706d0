"""Failed authentication, answered later and later for the peer that fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from gemini_backend.config.network.peers import network_of
from gemini_backend.errors import RateLimited

if TYPE_CHECKING:
    from gemini_backend.clock import Clock
    from gemini_backend.config.sections.auth import AuthOptions

FORGET_SECONDS = 300.0
"""Failures of a peer are forgotten when it has not failed for so long."""
MAX_PEERS = 10_000
"""Peers that are remembered; beyond it the one whose latest failure is the oldest is forgotten."""
MAX_WAITING = 1000
"""Refusals that wait at the same time; beyond it they are answered at once, as too many."""
MAX_WAITING_OF_PEER = 50
"""The same for one peer, so that it leaves room for those of others."""

_MOST_DOUBLINGS = 30


class _Peer(msgspec.Struct):
    failures: int = 0
    latest: float = 0.0
    waiting: int = 0


class Slowing:
    """Delays the answers to failed authentication, per peer; whoever succeeds never waits.

    An IPv6 peer is its network of 64 bits. While a peer waits it is not forgotten, so there are at
    most `MAX_PEERS` and `MAX_WAITING` entries.
    """

    def __init__(self, options: AuthOptions, clock: Clock) -> None:
        """Know of no failure yet."""
        self._first = options.failure_delay_seconds
        self._most = options.max_failure_delay_seconds
        self._clock = clock
        self._peers: dict[str, _Peer] = {}  # the one that failed last comes last
        self._waiting = 0

    async def failed(self, peer: str) -> None:
        """Return when a failed authentication may be answered.

        Args:
            peer: The peer's host, without port; peers whose host is unknown are one.

        Raises:
            RateLimited: too many refusals wait already; the failure counts all the same.
        """
        if not self._first:
            return
        one = self._noted(network_of(peer))
        if one.waiting >= MAX_WAITING_OF_PEER or self._waiting >= MAX_WAITING:
            msg = (
                "authentication failed too often: too many refusals wait to be answered; use valid "
                "credentials, and try again later"
            )
            raise RateLimited(msg, retry_after=self._most)
        one.waiting += 1
        self._waiting += 1
        try:
            await self._clock.sleep(self._delay(one.failures))
        finally:
            one.waiting -= 1
            self._waiting -= 1

    def _delay(self, failures: int) -> float:
        return min(self._most, self._first * 2.0 ** min(failures - 1, _MOST_DOUBLINGS))

    def _noted(self, network: str) -> _Peer:
        """Return the peer with one failure more."""
        now = self._clock.now()
        one = self._peers.pop(network, None)
        if one is None:
            self._make_room()
            one = _Peer()
        elif now - one.latest >= FORGET_SECONDS:
            one.failures = 0
        one.failures += 1
        one.latest = now
        self._peers[network] = one
        return one

    def _make_room(self) -> None:
        if len(self._peers) < MAX_PEERS:
            return
        for network, peer in self._peers.items():
            if not peer.waiting:
                del self._peers[network]
                return
