"""One budget for the bytes in flight: what is counted, and who gives way."""

from __future__ import annotations

from gemini_backend.memory import MemoryBudget, Purpose
from gemini_backend.sizes import MIB
from tests.support.clock import FakeClock

LIMIT = 64 * MIB


def test_changes_are_counted_by_purpose() -> None:
    """What is there is counted at once, whatever the limit says."""
    budget = MemoryBudget(lambda: LIMIT, FakeClock())
    budget.account(Purpose.JOURNAL).change(100 * MIB)
    budget.account(Purpose.ANSWERS).change(3 * MIB)
    used = {"requests": 0, "waiting": 0, "bodies": 0, "answers": 3 * MIB, "journal": 100 * MIB}
    assert (used, LIMIT, 103 * MIB) == (budget.state().used, budget.state().limit, budget.used)
    budget.account(Purpose.JOURNAL).change(-100 * MIB)
    budget.account(Purpose.ANSWERS).change(-3 * MIB)
    assert 0 == budget.used


def test_what_can_be_had_again_gives_way() -> None:
    """Whoever keeps it is asked for what is over the limit, and for nothing below it."""
    budget = MemoryBudget(lambda: LIMIT, FakeClock())
    journal = budget.account(Purpose.JOURNAL)
    asked = []

    def let_go(over: int) -> None:
        asked.append(over // MIB)
        journal.change(-min(over, journal.bytes))

    budget.give_way(let_go)
    journal.change(60 * MIB)
    budget.account(Purpose.ANSWERS).change(10 * MIB)
    budget.make_room(0)
    assert ([6], 54 * MIB, LIMIT) == (asked, journal.bytes, budget.used)


def test_whoever_waits_for_room_is_told() -> None:
    """Each time that there is more than before, unless it is handed on."""
    budget = MemoryBudget(lambda: LIMIT, FakeClock())
    told = []
    budget.tell_of_room(lambda: told.append(budget.used))
    account = budget.account(Purpose.REQUESTS)
    account.change(5)
    account.change(-2)
    account.hand_on(1)
    assert ([3], 2, 2) == (told, account.bytes, budget.used)


def test_a_refusal_names_the_setting_and_is_counted() -> None:
    """It says when to try again."""
    clock = FakeClock()
    budget = MemoryBudget(lambda: LIMIT, clock)
    assert (0, None) == (budget.state().refused, budget.state().refused_at)
    refusal = budget.refusal("all of it is taken")
    assert (
        "the server uses the 64 MiB that it may for calls in progress (server.max_memory_mb) and "
        "all of it is taken; retry later, send less at once, or raise the limit"
    ) == refusal.message
    assert ("POLICY_OVERLOADED", 1.0) == (refusal.reason, refusal.retry_after)
    assert (1, clock.now()) == (budget.state().refused, budget.state().refused_at)
