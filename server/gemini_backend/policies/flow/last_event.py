"""What an answer says last, for those that settle an account at its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gemini_backend.policies.watch import Watch

if TYPE_CHECKING:
    from gemini.backend.v1.execute_service_pb2 import Delta


class LastEvent(Watch):
    """Notes in `last` the latest event, or the whole answer; its subclasses have that slot."""

    __slots__ = ()
    last: Any

    def event(self, event: Any, _delta: Delta | None, /) -> None:
        """Note it."""
        self.last = event

    def answer(self, response: Any, /) -> None:
        """Note it."""
        self.last = response
