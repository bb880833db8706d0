"""Executions by name, for both clients: read, cancelled, listed."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from gemini.backend.v1.execute_service_pb2 import (
    CancelExecutionRequest,
    ExecutionState,
    GetExecutionRequest,
    ListExecutionsRequest,
)
from gemini_backend_client.calls.plan import Pages, Surface, Unary, operation
from gemini_backend_client.connection import DEFAULT, Link

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gemini.backend.v1 import execute_service_pb2
    from gemini_backend_client.connection import Timeout

__all__ = ["Executions"]

_Link = TypeVar("_Link", bound=Link)
_COLLECTION = "executions/"
_STATE = "EXECUTION_STATE_"


class Executions(Surface[_Link]):
    """The caller's executions: those that run, and those that the server remembers."""

    @operation
    def get(self, name: str, *, timeout: Timeout = DEFAULT) -> Unary[execute_service_pb2.Execution]:
        """Return what is known of an execution, by its name or id: state, failure, usage, cost.

        Raises:
            NotFoundError: when the caller has none of that name, or it is forgotten.
        """
        request = GetExecutionRequest(name=_name(name))
        method = self._link.stubs.execute.GetExecution
        return Unary(method, request, lambda answer: answer.execution, timeout)

    @operation
    def cancel(
        self, name: str, *, timeout: Timeout = DEFAULT
    ) -> Unary[execute_service_pb2.Execution]:
        """Stop an execution, whoever is connected to it, and return it when it has ended.

        One that has ended is returned as it is.

        Raises:
            NotFoundError: when the caller has none of that name, or it is forgotten.
        """
        request = CancelExecutionRequest(name=_name(name))
        method = self._link.stubs.execute.CancelExecution
        return Unary(method, request, lambda answer: answer.execution, timeout)

    @operation
    def list(
        self,
        *,
        states: Iterable[str] = (),
        session: str = "",
        labels: Mapping[str, str] | None = None,
        batch: str = "",
        timeout: Timeout = DEFAULT,
    ) -> Pages[execute_service_pb2.Execution]:
        """List executions, latest first; the next page is asked for when it is needed.

        Args:
            states: only those in one of these, e.g. "QUEUED", "RUNNING"; default: all.
            session: only those in the session of this name; default: all.
            labels: only those with all of these; default: all.
            batch: only the items of the batch of this name; default: all.
            timeout: seconds for each page; None for no limit.

        Raises:
            ValueError: for a state that does not exist.
        """
        request = ListExecutionsRequest(
            states=[
                ExecutionState.Value(f"{_STATE}{state.removeprefix(_STATE)}") for state in states
            ],
            session=session,
            labels=labels or {},
            batch=_name(batch) if batch else "",
        )
        method = self._link.stubs.execute.ListExecutions
        return Pages(method, request, lambda page: page.executions, timeout)


def _name(name: str) -> str:
    """Return `executions/{id}` for an id, and a full name as it is."""
    return name if name.startswith(_COLLECTION) else f"{_COLLECTION}{name}"
