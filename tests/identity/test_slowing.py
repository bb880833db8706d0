"""Failed authentication is answered later and later."""

from __future__ import annotations

import asyncio

import pytest

from gemini_backend.config.network.peers import network_of
from gemini_backend.config.sections.auth import AuthOptions
from gemini_backend.errors import RateLimited
from gemini_backend.identity import slowing
from gemini_backend.identity.slowing import FORGET_SECONDS, Slowing
from tests.support.clock import FakeClock, settle

OPTIONS = AuthOptions(failure_delay_seconds=0.125, max_failure_delay_seconds=1.0)


async def waited(slow: Slowing, clock: FakeClock, peer: str = "192.0.2.1") -> float:
    """Return how long a failure waits, moving the clock by an eighth of a second at a time."""
    task = asyncio.ensure_future(slow.failed(peer))
    await settle()
    steps = 0
    while not task.done():
        steps += 1
        await clock.advance(0.125)
    await task
    return steps * 0.125


async def test_each_failure_is_answered_later() -> None:
    """The delay doubles with each failure, up to the limit."""
    clock = FakeClock()
    slow = Slowing(OPTIONS, clock)
    assert [0.125, 0.25, 0.5, 1.0, 1.0] == [await waited(slow, clock) for _ in range(5)]


async def test_failures_of_one_peer_delay_no_other() -> None:
    """Each peer has a count of its own."""
    clock = FakeClock()
    slow = Slowing(OPTIONS, clock)
    for _ in range(4):
        await waited(slow, clock)
    assert 0.125 == await waited(slow, clock, "192.0.2.2")


async def test_failures_are_forgotten() -> None:
    """After a quiet time a peer begins anew; a little before it does not."""
    clock = FakeClock()
    slow = Slowing(OPTIONS, clock)
    await waited(slow, clock)
    await clock.advance(FORGET_SECONDS - 1)
    assert 0.25 == await waited(slow, clock)
    await clock.advance(FORGET_SECONDS)
    assert 0.125 == await waited(slow, clock)


async def test_no_delay_keeps_nothing() -> None:
    """With a delay of 0 a failure is answered at once, and not counted."""
    slow = Slowing(AuthOptions(failure_delay_seconds=0), FakeClock())
    await slow.failed("192.0.2.1")
    assert {} == slow._peers


@pytest.mark.parametrize(
    ("peer", "expected"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2::9]", "2001:db8:1:2::/64"),
        ("2001:db8:1:3:ffff:ffff:ffff:ffff", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unix", "unix"),
        ("", ""),
    ],
)
def test_whom_failures_count_for(peer: str, expected: str) -> None:
    """An IPv4 address, or the 64 bits of an IPv6 address that its owner cannot choose."""
    assert expected == network_of(peer)


async def test_peers_beyond_the_bound_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """The peer whose latest failure is the oldest goes first; one that waits stays."""
    monkeypatch.setattr(slowing, "MAX_PEERS", 2)
    clock = FakeClock()
    slow = Slowing(OPTIONS, clock)
    for peer in ("192.0.2.1", "192.0.2.2", "192.0.2.1", "192.0.2.3"):
        await waited(slow, clock, peer)
    assert ["192.0.2.1", "192.0.2.3"] == list(slow._peers)
    waiting = asyncio.ensure_future(slow.failed("192.0.2.1"))
    await settle()
    await waited(slow, clock, "192.0.2.4")
    await waited(slow, clock, "192.0.2.5")
    assert ["192.0.2.1", "192.0.2.5"] == list(slow._peers)
    waiting.cancel()


async def test_refusals_that_wait_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound a failure is answered at once as too many; then there is room again."""
    monkeypatch.setattr(slowing, "MAX_WAITING_OF_PEER", 2)
    monkeypatch.setattr(slowing, "MAX_WAITING", 3)
    clock = FakeClock()
    slow = Slowing(OPTIONS, clock)
    waiting = [asyncio.ensure_future(slow.failed("192.0.2.1")) for _ in range(2)]
    await settle()
    with pytest.raises(RateLimited) as refused:
        await slow.failed("192.0.2.1")
    assert 1.0 == refused.value.retry_after
    waiting.append(asyncio.ensure_future(slow.failed("192.0.2.2")))
    await settle()
    with pytest.raises(RateLimited):
        await slow.failed("192.0.2.3")
    waiting[0].cancel()
    await clock.advance(1)
    assert [True] * 3 == [task.done() for task in waiting]
    assert 0 == slow._waiting
    assert 0 < await waited(slow, clock, "192.0.2.3")
