"""How many connections there may be."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gemini_backend.web.places import Places


def test_one_peer_leaves_room_for_others() -> None:
    """An address that has all of its places is refused; another one is not."""
    places = Places(3, 2)
    for _ in range(2):
        places.take("10.0.0.1")
    assert ("too_many_of_peer", None) == (places.refusal("10.0.0.1"), places.refusal("10.0.0.2"))
    places.take("10.0.0.2")
    assert "too_many" == places.refusal("10.0.0.3")


def test_a_network_of_ipv6_is_one_peer() -> None:
    """Addresses of one /64 share the places of one peer."""
    places = Places(9, 1)
    places.take("2001:db8::1")
    assert ("too_many_of_peer", None) == (
        places.refusal("2001:db8::2"),
        places.refusal("2001:db8:0:1::1"),
    )


def test_a_place_is_left_once() -> None:
    """Leaving twice does not make room for two."""
    places = Places(2)
    one, _ = places.take("a"), places.take("a")
    one.leave()
    one.leave()
    assert 1 == places.taken


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=60))
def test_the_limits_hold(steps: list[tuple[str, bool]]) -> None:
    """Whatever comes and goes, neither limit is exceeded, and nothing stays counted."""
    places, held = Places(5, 2), []
    for host, comes in steps:
        if comes and places.refusal(host) is None:
            held.append((host, places.take(host)))
        elif not comes and held:
            held.pop(0)[1].leave()
        assert len(held) == places.taken <= 5
        assert all(sum(one == host for one, _ in held) <= 2 for host in "abc")
    for _, place in held:
        place.leave()
    assert [0, None] == [places.taken, places.refusal("a")]
