"""Runs under way are found by what they answer."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.policies.cache import run_key
from gemini_backend.policies.sharing.flights import Flights, Likeness
from gemini_backend.principal import Principal
from tests.support.clock import FakeClock
from tests.support.messages.calls import make_call

if TYPE_CHECKING:
    from gemini_backend.call import Call


def turn(*texts: str, role: str = "user") -> content.Content:
    """Return a turn."""
    return content.Content(role=role, parts=[content.Part(text=text) for text in texts])


ASKED: list[dict[str, Any]] = [
    {"prompt": "a"},
    {"prompt": "b"},
    {"prompt": " a"},
    {"contents": [turn("a")]},
    {"contents": [turn("b", "a")]},
    {"contents": [turn("b"), turn("a")]},
    {"contents": [turn("a", role="model")]},
    {"contents": [turn("b")], "prompt": "a"},
    {"contents": [turn()]},
    {},
    {"prompt": "a", "priority": pb.PRIORITY_BATCH},
    {"prompt": "a", "labels": {"team": "x"}},
    {"prompt": "a", "generation_config": content.GenerationConfig(seed=1)},
]
KINDS = st.sampled_from(list(product(ASKED, ("t", "u"))))


def asked(kind: tuple[dict[str, Any], str]) -> tuple[Call, Any]:
    """Return a call of a tenant, and its request."""
    call = replace(make_call(FakeClock()), principal=Principal(tenant=kind[1]))
    return call, pb.ExecuteRequest(model="models/a", **kind[0])


@given(under_way=st.lists(KINDS, unique_by=str, max_size=6), kind=KINDS, gone=st.integers(0, 6))
def test_a_run_is_found_by_its_digest(
    under_way: list[Any], kind: tuple[dict[str, Any], str], gone: int
) -> None:
    """Whatever is near each other: found is what has the same digest, as long as it is open."""
    flights: Flights[int] = Flights()
    expected: dict[bytes, int] = {}
    added: list[tuple[Likeness, int, bytes]] = []
    for number, one in enumerate(under_way):
        like, key = Likeness(*asked(one)), run_key(*asked(one))
        assert expected.get(key) == flights.find(like)
        if key not in expected:
            flights.add(like, number)
            expected[key] = number
            added.append((like, number, key))
    for like, number, key in added[:gone]:
        flights.close(like, number)
        del expected[key]
    call, request = asked(kind)
    assert expected.get(run_key(call, request)) == flights.find(Likeness(call, request))
    known = Likeness(call, request, run_key(call, request))
    assert expected.get(known.key) == flights.find(known)


def test_what_is_alone_is_not_digested() -> None:
    """A digest is made when somebody comes who may ask for the same."""
    flights: Flights[int] = Flights()
    one, other, near = (Likeness(*asked(({"prompt": text}, "t"))) for text in ("a", "b", "a"))
    for number, like in enumerate((one, other)):
        assert flights.find(like) is None
        flights.add(like, number)
    assert (None, None) == (one._key, other._key)
    assert 0 == flights.find(near)
    assert (one._key, None) == (near._key, other._key)


def test_who_has_closed_leaves_nothing() -> None:
    """A flight that is not the open one closes nothing; closed ones take no place."""
    flights: Flights[int] = Flights()
    ones = [Likeness(*asked((one, "t"))) for one in ASKED[:1] + ASKED[-1:]]
    for number, like in enumerate(ones):
        flights.add(like, number)
        flights.close(like, 9)
        assert number == flights.find(like)
    for number, like in enumerate(ones):
        flights.close(like, number)
    assert {} == flights._open
    assert 2 == len(flights)
