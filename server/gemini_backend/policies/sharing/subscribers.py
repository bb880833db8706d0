"""The calls that one run answers, of which one pays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from gemini_backend.call import Call


class Member(Protocol):
    """One call's place among those that a run answers."""

    @property
    def call(self) -> Call:
        """The call."""
        ...

    @property
    def at_the_end(self) -> bool:
        """Whether it has been told all that there will be."""
        ...


class SharedBudget:
    """The budget of a run with several callers: as long as any of them may wait, or wants more."""

    __slots__ = ("deadline", "members")

    def __init__(self, deadline: float | None) -> None:
        """Begin with the first caller's deadline."""
        self.deadline = deadline
        self.members: dict[Member, None] = {}  # in the order in which they came

    def extend(self, deadline: float | None) -> None:
        """Let the run last as long as another caller may wait; None is for ever."""
        if self.deadline is not None:
            self.deadline = None if deadline is None else max(self.deadline, deadline)

    def wanted(self) -> bool:
        """Return whether any caller still wants further requests to be made."""
        return any(member.call.budget.wanted() for member in self.members)


class Subscribers:
    """A run and the calls that it answers: as a rule the one that was there first pays.

    Whoever is the first to be told the end pays for good. So there is one, though the one that was
    there first may read slowly, and leave.
    """

    __slots__ = ("_budget", "_paid", "members", "run")

    def __init__(self, first: Call) -> None:
        """Make the call of the run, as `first` asks for it: no caller's own, so that none ends it.

        Attributes:
            run: The call of the run.
            members: Those that are on board.
        """
        self._budget = budget = SharedBudget(first.budget.deadline)
        self.members = budget.members
        self.run = first.derive(budget=budget)
        self._paid = False

    def enter(self, member: Member) -> None:
        """Take a call on board; the run may last as long as the call may."""
        outcome = member.call.outcome
        outcome.pays = not (self.members or self._paid)
        outcome.shared = self.run.outcome
        deadline = member.call.budget.deadline
        if deadline != self._budget.deadline:
            self._budget.extend(deadline)
        self.members[member] = None

    def tell_end(self, member: Member) -> None:
        """Write into a call that the run has ended well, and whether it is the one that pays."""
        member.call.outcome.adopt(self.run.outcome)
        if not self._paid:
            self._paid = True
            for other in self.members:
                other.call.outcome.pays = other is member

    def leave(self, member: Member) -> None:
        """Let a call go; where it would have paid, another one that stays does."""
        outcome = member.call.outcome
        outcome.adopt(self.run.outcome)
        outcome.shared = None
        del self.members[member]
        if outcome.pays and not self._paid and not member.at_the_end:
            self._hand_over(member)

    def _hand_over(self, leaver: Member) -> None:
        """Let the call that has been there longest pay, of those that have not seen the end."""
        for other in self.members:
            if not other.at_the_end:
                leaver.call.outcome.pays, other.call.outcome.pays = False, True
                return
