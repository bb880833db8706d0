"""The queue against a small model of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gemini_backend.policies.flow.queue import PriorityQueue, Waiter

if TYPE_CHECKING:
    import asyncio

NOBODY = cast("asyncio.Future[bool]", None)


class QueueMachine(RuleBasedStateMachine):
    """Keeps, for each priority, tenants in their turn, each with its line."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = PriorityQueue(3)
        self.model: list[list[tuple[str, list[Waiter]]]] = [[], [], []]
        self.now = 0.0

    @rule(priority=st.integers(0, 2), tenant=st.sampled_from("abc"))
    def add(self, priority: int, tenant: str) -> None:
        self.now += 1
        waiter = Waiter(priority, tenant, self.now, NOBODY)
        self.queue.add(waiter)
        for name, line in self.model[priority]:
            if name == tenant:
                line.append(waiter)
                return
        self.model[priority].append((tenant, [waiter]))

    @rule()
    def first(self) -> None:
        expected = None
        for turn in self.model:
            if turn:
                tenant, line = turn.pop(0)
                expected = line.pop(0)
                if line:
                    turn.append((tenant, line))
                break
        assert expected is self.queue.first()

    @rule(priority=st.integers(0, 2), tenant=st.sampled_from("abc"))
    def make_room(self, priority: int, tenant: str) -> None:
        """The newest of a tenant with the most goes: of the lowest priority, or for fairness."""
        lowest = max((place for place in range(3) if self.model[place]), default=priority)
        place = max(lowest, priority)
        longest = max((len(line) for _, line in self.model[place]), default=0)
        own = sum(len(line) for name, line in self.model[place] if name == tenant)
        out = self.queue.make_room(priority, tenant)
        if place == priority and longest <= own + 1:
            assert out is None
            return
        assert out is not None
        assert (place, longest) == (out.priority, self.take_out(out))
        assert place > priority or longest - 1 >= own + 1

    def take_out(self, waiter: Waiter) -> int:
        """Take the newest of a line out of the model; return how long the line was."""
        turn = self.model[waiter.priority]
        (whose,) = [tenant for tenant in turn if tenant[0] == waiter.tenant]
        assert whose[1].pop() is waiter
        if not whose[1]:
            turn.remove(whose)
        return len(whose[1]) + 1

    @precondition(lambda self: any(self.model))
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        everyone = [w for turn in self.model for _, line in turn for w in line]
        waiter = data.draw(st.sampled_from(everyone))
        for turn in self.model:
            for tenant in list(turn):
                if waiter in tenant[1]:
                    tenant[1].remove(waiter)
                    if not tenant[1]:
                        turn.remove(tenant)
        assert self.queue.remove(waiter)
        assert not self.queue.remove(waiter)

    @invariant()
    def agrees(self) -> None:
        depths = tuple(sum(len(line) for _, line in turn) for turn in self.model)
        assert depths == self.queue.depths()
        assert sum(depths) == self.queue.count
        fronts: list[Any] = [turn[0][1][0].since for turn in self.model if turn]
        assert (fronts[0] if fronts else None) == self.queue.oldest_since()

    @invariant()
    def says_who_is_ahead(self) -> None:
        for priority in range(3):
            for tenant in "abcd":
                turn = self.model[priority]
                own = next((len(line) for name, line in turn if name == tenant), 0)
                really = sum(min(len(line), own + 1) for name, line in turn if name != tenant) + own
                higher = sum(len(line) for t in self.model[:priority] for _, line in t)
                told = self.queue.ahead_of(priority, tenant)
                assert higher + really <= told <= self.queue.count


TestQueue = QueueMachine.TestCase
TestQueue.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
