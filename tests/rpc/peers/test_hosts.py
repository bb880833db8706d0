"""The host of a peer."""

from __future__ import annotations

import pytest

from gemini_backend.rpc.peers import host_of


@pytest.mark.parametrize(
    ("peer", "host"),
    [
        ("ipv4:10.0.0.1:1234", "10.0.0.1"),
        ("ipv6:[::1]:1234", "::1"),
        ("ipv6:%5B::1%5D:1234", "::1"),
        ("unix:/run/x.sock", "unix:/run/x.sock"),
        ("", ""),
    ],
)
def test_a_peer_is_known_by_its_host(peer: str, host: str) -> None:
    """Without port and brackets."""
    assert host == host_of(peer)
