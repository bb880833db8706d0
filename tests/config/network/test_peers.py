"""Who is at the other end of a connection."""

from __future__ import annotations

import pytest

from gemini_backend.config.network.peers import host_of, network_of


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("10.1.2.3", "10.1.2.3"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unix", "unix"),
        ("", ""),
    ],
)
def test_one_caller_is_an_address_or_a_network(host: str, network: str) -> None:
    """An IPv6 address counts as its /64, which one caller may have for itself."""
    assert network == network_of(host)


@pytest.mark.parametrize(
    ("peer", "host"),
    [
        ("ipv4:127.0.0.1:50123", "127.0.0.1"),
        ("ipv6:%5B::1%5D:50123", "::1"),
        ("ipv6:[::1]:50123", "::1"),
        ("ipv4:10.0.0.1:1234", "10.0.0.1"),
        ("unix:/run/x.sock", "unix:/run/x.sock"),
        ("unix:", "unix:"),
        ("", ""),
        ("ipv4:", "ipv4:"),
    ],
)
def test_the_host_of_a_peer_as_grpc_names_it(peer: str, host: str) -> None:
    """The port is left out, and so are brackets; what has no host stays as it is."""
    assert host == host_of(peer)
