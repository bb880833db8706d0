"""Calls that waited for the same moment go out one after the other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_backend.policies.flow.pace import Pace


def slots(pace: Pace, now: float, count: int) -> list[float]:
    """Return by when so many calls go out that come at once."""
    return [now + pace.take(now) for _ in range(count)]


def test_nobody_is_held_back_until_it_begins() -> None:
    """It costs nothing where nothing was refused."""
    pace = Pace()
    assert ([0.0] * 5, 0.0) == ([pace.take(9.0) for _ in range(5)], pace.ahead(9.0, 50))


def test_with_a_known_limit_they_are_evenly_apart() -> None:
    """The first goes out at the end of the throttle; once the line is empty, a bucket goes on."""
    pace = Pace()
    pace.begin_known(100.0, 2.0)
    assert [100, 100.5, 101, 101.5] == slots(pace, 100.0, 4)
    assert [102] == slots(pace, 100.7, 1)
    assert [110, 110] == slots(pace, 110.0, 2)


def test_a_missed_slot_is_lost() -> None:
    """Whoever comes late does not come in a burst."""
    pace = Pace()
    pace.begin_unknown(100.0, 60, 60.0)
    (first, second) = slots(pace, 110.0, 2)
    assert 110 <= first < second
    assert second - first > 0.8


def test_with_nothing_known_it_begins_with_little_and_doubles() -> None:
    """Forty calls take about three seconds, and never more than a few in a tenth of one."""
    pace = Pace()
    pace.begin_unknown(100.0, 0, 60.0)
    found = slots(pace, 100.0, 40)
    assert (100.0, True) == (found[0], 2.0 < found[-1] - found[0] < 4.0)
    assert max(sum(at <= one < at + 0.1 for one in found) for at in found) <= 4


def test_what_was_accepted_before_is_the_first_rate() -> None:
    """In the first period hardly more go out than were accepted in the one before."""
    pace = Pace()
    pace.begin_unknown(100.0, 10, 2.0)
    found = slots(pace, 100.0, 60)
    assert 12 == sum(at < 102 for at in found)
    assert 60 / 10 * 2 > found[-1] - 100.0


def test_it_holds_nobody_back_for_ever() -> None:
    """After a while without a refusal all is as before."""
    pace = Pace()
    pace.begin_unknown(100.0, 10, 2.0)
    slots(pace, 100.0, 3)
    assert pace.ahead(110.0, 3) > 0
    assert 0 == pace.ahead(200.0, 50)
    assert [0.0] * 50 == [pace.take(200.0) for _ in range(50)]


def test_a_slot_can_be_given_back() -> None:
    """The next one gets it."""
    pace = Pace()
    pace.begin_known(100.0, 1.0)
    assert [100, 101] == slots(pace, 100.0, 2)
    pace.give_back()
    assert [101] == slots(pace, 100.0, 1)


@given(
    st.integers(0, 10_000),
    st.floats(0, 100_000),
    st.lists(st.floats(0, 50), min_size=2, max_size=30),
)
def test_slots_follow_each_other(accepted: int, seconds: float, pauses: list[float]) -> None:
    """Whatever was accepted and whenever calls come, none goes out before one that came earlier."""
    pace = Pace()
    pace.begin_unknown(100.0, accepted, seconds)
    now, found = 100.0, []
    for pause in pauses:
        now += pause
        found.append(now + pace.take(now))
    assert sorted(found) == pytest.approx(found)
    assert found[0] >= 100
