"""The keys: which one is taken, and how each of them fares."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_backend.call import UpstreamKey
from gemini_backend.errors import DailyQuotaExhausted, KeyRefused, NoUpstreamKey, Throttled
from gemini_backend.policies.attempts.key_pool import MAX_BLOCKS, KeyPool
from gemini_backend.telemetry.component_status import KeyState
from tests.support.clock import FakeClock

REST = 300.0


def keys(*projects: str) -> list[UpstreamKey]:
    return [UpstreamKey(f"k{index}", name) for index, name in enumerate(projects)]


async def test_a_quota_of_this_request_alone_closes_no_key(clock: FakeClock) -> None:
    """A tool's quota says nothing of the model."""
    for error in (Throttled("x", retry_after=9), DailyQuotaExhausted("x", retry_after=9)):
        key_pool = KeyPool(keys("a"), clock, lambda: REST)
        error.concerns_model = False
        key_pool.note(key_pool.take("m"), "m", error)
        assert [None] == [status.until for status in key_pool.states()]


async def test_what_is_remembered_of_projects_is_bounded(clock: FakeClock) -> None:
    """Beyond the bound the block noted first goes."""
    key_pool = KeyPool(keys("a", "b"), clock, lambda: REST)
    (first, _) = keys("a", "b")
    for number in range(MAX_BLOCKS + 1):
        key_pool.note(first, f"models/{number}", Throttled("later", retry_after=60))
    assert MAX_BLOCKS == len(key_pool._blocks)
    assert 2 == len({key_pool.take("models/0").key_id, key_pool.take("models/0").key_id})


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["take", "give", "refuse", "throttle", "well", "wait"]), st.integers(0, 3)
    ),
    max_size=60,
)


@given(EVENTS)
def test_a_key_that_may_not_be_used_is_never_taken_while_another_may(
    events: list[tuple[str, int]],
) -> None:
    """Against a model that knows until when each key rests, and how many calls each has."""
    clock = FakeClock()
    all_keys = keys("a", "a", "b", "c")
    key_pool = KeyPool(all_keys, clock, lambda: 30.0)
    rests = [0.0] * 4
    throttled = dict.fromkeys("abc", 0.0)
    flying = [0] * 4
    for what, number in events:
        key, now = all_keys[number], clock.now()
        if what == "take":
            ends = [max(rests[i], throttled[one.project]) for i, one in enumerate(all_keys)]
            blocked = [max(0.0, end - now) for end in ends]
            taken = all_keys.index(key_pool.take("models/a"))
            best = min(zip(blocked, flying, strict=True))
            assert best == (blocked[taken], flying[taken])
            flying[taken] += 1
        elif what == "give" and flying[number]:
            flying[number] -= 1
            key_pool.give_back(key)
        elif what == "refuse":
            rests[number] = now + 30
            key_pool.note(key, "models/a", KeyRefused("no"))
        elif what == "throttle":
            throttled[key.project] = max(throttled[key.project], now + 5)
            key_pool.note(key, "models/a", Throttled("later", retry_after=5))
        elif what == "well":
            rests[number] = 0.0
            key_pool.note(key, "models/a", None)
        elif what == "wait":
            asyncio.run(clock.advance(float(number)))
    assert flying == [status.in_flight for status in key_pool.states()]


def test_a_bound_call_stays_with_its_project(clock: FakeClock) -> None:
    """What was begun with a key goes on with it, or with another one of its project."""
    key_pool = KeyPool(keys("a", "b", "a"), clock, lambda: REST)
    first, _, third = (status.key_id for status in key_pool.states())
    assert 3 == len({key_pool.take("m", bound_to="gone").key_id for _ in range(3)})
    taken = [key_pool.take("m", bound_to=third) for _ in range(3)]
    assert [third] * 3 == [key.key_id for key in taken]
    assert first == key_pool.take("m", tried=taken[:1], bound_to=third).key_id
    assert key_pool.usable_beside("m", tried=taken[:1], bound_to=third)
    key_pool.note(taken[0], "m", Throttled("x", retry_after=9))
    assert not key_pool.usable_beside("m", tried=(), bound_to=third)
    assert key_pool.usable_beside("m", tried=(), bound_to="k1")


def test_a_spent_day_without_a_time_lasts_a_day(clock: FakeClock) -> None:
    """Where upstream says no time, the quota of a day is spent for one; for that project alone."""
    board = KeyPool(keys("a", "b"), clock, lambda: REST)
    first, second = (board.take("m") for _ in range(2))
    board.note(second, "m", DailyQuotaExhausted("spent"))
    states = board.states()
    assert [None, clock.now() + 86_400] == [one.until for one in states]
    assert [KeyState.UNKNOWN, KeyState.EXHAUSTED] == [one.state for one in states]
    board.note(first, "m", DailyQuotaExhausted("spent", retry_after=5))
    assert clock.now() + 5 == board.states()[0].until


async def test_a_rest_is_over_in_time(clock: FakeClock) -> None:
    """Until then an answer changes nothing; from then on the key is active, without a time."""
    board = KeyPool(keys("a"), clock, lambda: REST)
    key = board.take("m")
    board.note(key, "m", Throttled("x", retry_after=5))
    board.note(key, "other", None)
    assert (KeyState.THROTTLED, clock.now() + 5) == (
        board.states()[0].state,
        board.states()[0].until,
    )
    await clock.advance(5)
    (status,) = board.states()
    assert (KeyState.ACTIVE, None) == (status.state, status.until)


async def test_an_answer_opens_a_spent_day_again(clock: FakeClock) -> None:
    """A call that tried it has shown that there is quota; another model's answer shows nothing."""
    board = KeyPool(keys("a", "b"), clock, lambda: REST)
    key = board.take("m")
    board.note(key, "m", DailyQuotaExhausted("spent", retry_after=9000))
    board.note(key, "other", None)
    assert not board.usable_beside("m", [board.take("m")])
    board.note(key, "m", None)
    assert (KeyState.ACTIVE, None) == (board.states()[0].state, board.states()[0].until)
    assert board.usable_beside("m", [board.take("other", [key])])


async def test_keys_come_and_go(clock: FakeClock) -> None:
    """One that stays keeps its state, one that is removed is not taken again."""
    first, second, third = keys("a", "b", "c")
    board = KeyPool([first, second], clock, lambda: REST)
    board.note(first, "m", KeyRefused("no"))
    board.replace([third, first])
    assert [("k2", KeyState.UNKNOWN), ("k0", KeyState.INVALID)] == [
        (one.key_id, one.state) for one in board.states()
    ]
    assert {third} == {board.take("m") for _ in range(3)}
    assert (2, 2) == (len(board), board.projects)


async def test_a_call_with_a_removed_key_ends_well(clock: FakeClock) -> None:
    """Its end is counted for nobody else, and says nothing of the keys that are left."""
    first, second = keys("a", "b")
    board = KeyPool([first], clock, lambda: REST)
    taken = board.take("m")
    board.replace([second])
    board.note(taken, "m", KeyRefused("no"))
    board.give_back(taken)
    board.note(taken, "m", None)
    (status,) = board.states()
    assert ("k1", KeyState.UNKNOWN, 0, 0) == (
        status.key_id,
        status.state,
        status.in_flight,
        status.failed,
    )


async def test_a_key_that_comes_back_has_its_calls(clock: FakeClock) -> None:
    """And its state, as long as one of them was in flight."""
    (first,) = keys("a")
    board = KeyPool([first], clock, lambda: REST)
    taken = [board.take("m"), board.take("m")]
    board.replace([])
    board.give_back(taken[0])
    board.replace([first])
    assert 1 == board.states()[0].in_flight
    board.give_back(taken[1])
    assert 0 == board.states()[0].in_flight


async def test_without_keys_calls_fail_with_the_fixes(clock: FakeClock) -> None:
    """All of them."""
    board = KeyPool(keys("a"), clock, lambda: REST)
    board.replace([])
    with pytest.raises(NoUpstreamKey, match=r"GEMINI_API_KEY.*api_keys_file.*upstream-keys add"):
        board.take("m")


CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("take"), st.just(0)),
        st.tuples(st.just("give"), st.integers(0, 9)),
        st.tuples(st.just("replace"), st.integers(0, 15)),
    ),
    max_size=60,
)


@given(CHANGES)
def test_calls_in_flight_are_counted_whatever_comes_and_goes(
    changes: list[tuple[str, int]],
) -> None:
    """Each key has as many as were taken of it, and no key is taken that is not in use."""
    all_keys = keys("a", "a", "b", "c")
    board = KeyPool(all_keys, FakeClock(), lambda: REST)
    in_use, flying = list(all_keys), list[UpstreamKey]()
    for what, number in changes:
        if what == "take" and in_use:
            flying.append(board.take("m"))
            assert flying[-1] in in_use
        elif what == "give" and flying:
            board.give_back(flying.pop(number % len(flying)))
        elif what == "replace":
            in_use = [key for place, key in enumerate(all_keys) if number >> place & 1]
            board.replace(in_use)
        expected = [(key.key_id, flying.count(key)) for key in in_use]
        assert expected == [(one.key_id, one.in_flight) for one in board.states()]
