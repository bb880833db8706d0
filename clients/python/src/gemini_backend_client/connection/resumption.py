"""How a stream goes on that was lost while its execution runs on at the server. No I/O.

That is so with `on_disconnect` KEEP or DRAIN. The server says the execution's name before anything
else, so that it can be found again though no event has come.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gemini.backend.v1.execute_service_pb2 import DISCONNECT_MODE_CANCEL, ExecuteRequest, Resume

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Resumption", "name_in", "resumption_of"]

_KEY: Final = "gemini-backend-execution"


def name_in(metadata: Iterable[tuple[str, str | bytes]] | None) -> str:
    """Return the execution's name in a call's initial metadata; empty where there is none."""
    return str(dict(metadata or ()).get(_KEY, ""))


class Resumption:
    """How far a stream has come that can be resumed."""

    def __init__(self, name: str, sequence: int) -> None:
        """Begin with what is known: the name, empty if it is not, and the last event."""
        self.name = name
        self.sequence = sequence

    def took(self, event: Any) -> None:
        """Note an event that has arrived."""
        self.name = event.execution
        self.sequence = event.sequence

    def request(self) -> ExecuteRequest | None:
        """Return the request that takes the execution up; None where its name is not known."""
        if not self.name:
            return None
        return ExecuteRequest(resume=Resume(execution=self.name, after_sequence=self.sequence))


def resumption_of(request: Any) -> Resumption | None:
    """Return how far a stream has come that is about to begin; None where it cannot be resumed."""
    if not isinstance(request, ExecuteRequest):
        return None
    if request.HasField("resume"):
        return Resumption(request.resume.execution, request.resume.after_sequence)
    kept = request.on_disconnect.mode > DISCONNECT_MODE_CANCEL
    return Resumption("", 0) if kept else None
