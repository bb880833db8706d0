"""Who is at the other end of a connection, as limits by address count it."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from urllib.parse import unquote

_PREFIX = 64


@lru_cache(maxsize=4096)
def network_of(host: str) -> str:
    """Return the address itself, or the /64 network of an IPv6 address, which one caller may have.

    What is no address is returned as it is.
    """
    try:
        address = ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ip_network((address, _PREFIX), strict=False))
    return str(address)


@lru_cache(maxsize=4096)
def host_of(peer: str) -> str:
    """Return the host of a peer as gRPC names it: `ipv4:127.0.0.1:5`, `ipv6:%5B::1%5D:5`, `unix:`.

    What has no host is returned as it is.
    """
    kind, colon, rest = peer.partition(":")
    if kind not in {"ipv4", "ipv6"} or not colon:
        return peer
    return unquote(rest).rpartition(":")[0].strip("[]") or peer
