"""Executions by name, for ExecuteService: read, cancelled, listed; each by its owner only."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from google.rpc.error_details_pb2 import ErrorInfo

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.api.messages.pagination import last_seen, token_after
from gemini_backend.durations import timestamp_of
from gemini_backend.errors import Cancelled, DeadlinePassed
from gemini_backend.stores.sessions import PAGE_BYTES

if TYPE_CHECKING:
    from gemini_backend.call import Call
    from gemini_backend.clock import Clock
    from gemini_backend.policies.executions import ExecutionRegister
    from gemini_backend.policies.sharing.journal_store import JournalStore

_A_PAGE, _MAX_PAGE = 50, 1000
_AT_A_TIME = 200
_LONGEST_MESSAGE = 512


class Executions:
    """Answers from the register, and says what the journal still has of an execution."""

    def __init__(
        self,
        register: ExecutionRegister,
        journal: JournalStore | None,
        clock: Clock,
    ) -> None:
        """Read what is kept there; `clock` times the wait for an end."""
        self._register = register
        self._journal = journal
        self._clock = clock

    def get(self, call: Call, request: pb.GetExecutionRequest) -> pb.GetExecutionResponse:
        """Return an execution.

        Raises:
            UnknownResource: the caller has none of that name, or it is forgotten.
        """
        found = self._register.get(call.principal, request.name)
        return pb.GetExecutionResponse(execution=self._with_place(found))

    async def cancel(
        self, call: Call, request: pb.CancelExecutionRequest
    ) -> pb.CancelExecutionResponse:
        """Stop an execution, and return it when it has ended.

        Raises:
            UnknownResource: the caller has none of that name, or it is forgotten.
            DeadlinePassed: it had not ended by the deadline of this call; it is being stopped.
        """
        why = Cancelled("the execution was cancelled by CancelExecution")
        try:
            async with self._clock.timeout(call.remaining(self._clock.now())):
                ended = await self._register.cancel(call.principal, request.name, why)
        except TimeoutError:
            raise DeadlinePassed(
                f"execution {request.name!r} is being cancelled and had not ended by the deadline "
                "of this call; read it with GetExecution"
            ) from None
        return pb.CancelExecutionResponse(execution=self._with_place(ended))

    async def list(
        self, call: Call, request: pb.ListExecutionsRequest
    ) -> pb.ListExecutionsResponse:
        """Return a page of the caller's executions, latest first.

        Raises:
            InvalidRequest: the page token is none of this list's.
        """
        after, states = last_seen(request), set(request.states)
        items_of = f"{request.batch}." if request.batch else ""
        found = [
            (name, make)
            for name, state, make in self._register.all_of(call.principal)
            if (after is None or name < after)
            and (not states or state in states)
            and name.startswith(items_of)
        ]
        found.sort(key=lambda one: one[0], reverse=True)
        most = min(request.page_size or _A_PAGE, _MAX_PAGE)
        response, size, more = pb.ListExecutionsResponse(), 0, False
        for place, (_, make) in enumerate(found, 1):
            made = make()
            if _matches(made, request):
                if len(response.executions) == most or size > PAGE_BYTES:
                    more = True
                    break
                response.executions.append(_in_short(self._with_place(made)))
                size += made.ByteSize()
            if place % _AT_A_TIME == 0:
                await asyncio.sleep(0)  # others are served too
        if more:
            response.next_page_token = token_after(response.executions[-1].name, request)
        return response

    def _with_place(self, one: pb.Execution) -> pb.Execution:
        """Return an execution with what the journal has of it."""
        place = None if self._journal is None else self._journal.place_of(one.name)
        runs = not one.HasField("end_time")
        if place is None or (runs and one.on_disconnect <= pb.DISCONNECT_MODE_CANCEL):
            return one
        one.resumable, one.resume_after_sequence = True, place.first
        if place.keep is not None:
            until = one.end_time.ToMicroseconds() / 1e6 + place.keep
            one.resume_expire_time.CopyFrom(timestamp_of(until))
        return one


def _matches(one: pb.Execution, request: pb.ListExecutionsRequest) -> bool:
    if request.session and one.session != request.session:
        return False
    return all(one.labels.get(key) == value for key, value in request.labels.items())


def _in_short(one: pb.Execution) -> pb.Execution:
    """Return an execution without what makes some of them long."""
    one.ClearField("failure")
    if one.HasField("error"):
        one.error.message = one.error.message[:_LONGEST_MESSAGE]
        info = [detail for detail in one.error.details if detail.Is(ErrorInfo.DESCRIPTOR)]
        del one.error.details[:]
        one.error.details.extend(info)
    return one
