"""The host of a peer."""

from __future__ import annotations

from urllib.parse import unquote


def host_of(peer: str) -> str:
    """Return the host of a peer as gRPC writes it, such as `ipv4:127.0.0.1:1234`."""
    return unquote(peer.partition(":")[2].rpartition(":")[0]).strip("[]") or peer
