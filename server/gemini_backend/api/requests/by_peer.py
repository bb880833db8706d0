"""The RPCs under way by where they come from, for servers that need to know it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_backend.api.requests.in_flight import Running
from gemini_backend.config.network.peers import host_of, network_of

if TYPE_CHECKING:
    from gemini_backend.call import Call


class RunningByPeer(Running):
    """Knows how many RPCs each address has; bounded by the RPCs themselves.

    Attributes:
        called: Peers of RPCs that have begun; whoever reads it empties it.
    """

    def __init__(self) -> None:
        """Know none yet."""
        super().__init__()
        self.called: set[str] = set()
        self._counts: dict[str, int] = {}

    def enter(self, call: Call) -> None:
        """An RPC begins, in the current task; the same one may be told of twice."""
        known = call.execution in self.tasks
        super().enter(call)
        if not known and call.execution in self.tasks:
            self.called.add(call.peer)
            network = _network(call)
            self._counts[network] = self._counts.get(network, 0) + 1

    def leave(self, call: Call) -> None:
        """An RPC has ended."""
        if call.execution in self.tasks:
            network = _network(call)
            count = self._counts[network] - 1
            if count:
                self._counts[network] = count
            else:
                del self._counts[network]
        super().leave(call)

    def of_same_peer(self, call: Call, /) -> int:
        """Return how many RPCs run that come from where a call comes from."""
        return self._counts.get(_network(call), 0)


def _network(call: Call) -> str:
    return network_of(host_of(call.peer))
