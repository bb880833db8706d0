"""Which kind of work each RPC of the contract is."""

from __future__ import annotations

from gemini_backend.call import Work

_EXECUTIONS = frozenset(
    {
        "/gemini.backend.v1.ExecuteService/Execute",
        "/gemini.backend.v1.ExecuteService/Process",
    }
)


def work_of(method: str) -> Work:
    """Return the kind of work of an RPC, by its path."""
    return Work.EXECUTION if method in _EXECUTIONS else Work.CALL
