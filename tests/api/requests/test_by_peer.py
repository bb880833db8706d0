"""RPCs by where they come from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from gemini_backend.api.requests.by_peer import RunningByPeer
from tests.support.messages.calls import CALL

if TYPE_CHECKING:
    from gemini_backend.call import Call


def call(number: int, peer: str) -> Call:
    """Return a call of its own from a peer."""
    return replace(CALL, execution=f"executions/{number}", peer=peer)


async def test_calls_of_an_address_are_counted_over_its_connections() -> None:
    """Two connections of one address are one peer; an end is counted once."""
    running = RunningByPeer()
    calls = [call(number, f"ipv4:10.0.0.1:{number}") for number in (1, 2)]
    other = call(3, "ipv4:10.0.0.2:3")
    for one in (*calls, other):
        running.enter(one)
    assert [2, 1] == [running.of_same_peer(calls[0]), running.of_same_peer(other)]
    for one in (*calls, *calls):
        running.leave(one)
    assert [0, 1] == [running.of_same_peer(calls[0]), running.of_same_peer(other)]


async def test_a_call_that_is_told_of_twice_counts_once() -> None:
    """Whoever makes it is known later than that it has begun."""
    running, one = RunningByPeer(), call(1, "ipv4:10.0.0.1:1")
    running.enter(one)
    running.enter(one)
    assert 1 == running.of_same_peer(one)
    running.leave(one)
    assert 0 == running.of_same_peer(one)


async def test_peers_are_noted_until_somebody_reads_them() -> None:
    """Each connection that makes an RPC is named once."""
    running = RunningByPeer()
    for number in (1, 2):
        running.enter(call(number, "ipv4:10.0.0.1:1"))
    assert {"ipv4:10.0.0.1:1"} == running.called
