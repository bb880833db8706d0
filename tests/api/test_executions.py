"""GetExecution, CancelExecution, ListExecutions: what callers see of the register."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from google.rpc.error_details_pb2 import ErrorInfo

from gemini.backend.v1 import error_details_pb2 as details
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.api.executions import Executions
from gemini_backend.call import FixedBudget
from gemini_backend.config.sections.answers import JournalOptions
from gemini_backend.errors import DeadlinePassed, InvalidRequest, StreamCut, UnknownResource
from gemini_backend.policies.sharing.journal_store import JournalStore
from tests.support.clock import settle
from tests.support.layers.known_executions import MIDNIGHT, Known
from tests.support.messages.calls import completed, started

if TYPE_CHECKING:
    from gemini_backend.call import Call
    from tests.support.clock import FakeClock

KEEP = pb.OnDisconnect(mode=pb.DISCONNECT_MODE_KEEP)


class Service:
    """The service before a register and a journal."""

    def __init__(self, clock: FakeClock) -> None:
        self.known = Known(clock)
        self.journal = JournalStore(JournalOptions, clock)
        self.api = Executions(self.known.register, self.journal, clock)

    def succeeded(self, name: str, principal: str = "ann", **request: Any) -> Call:
        call = self.known.begin(name, principal, **request)
        call.outcome.end = completed().completed
        self.known.register.call_ended(call, None)
        return call

    def get(self, name: str, principal: str = "ann") -> pb.Execution:
        request = pb.GetExecutionRequest(name=name)
        return self.api.get(self.known.call("x", principal), request).execution

    async def page(self, principal: str = "ann", **request: Any) -> pb.ListExecutionsResponse:
        call = self.known.call("x", principal)
        return await self.api.list(call, pb.ListExecutionsRequest(**request))

    async def names(self, **request: Any) -> list[str]:
        return [one.name for one in (await self.page(**request)).executions]


def test_an_unknown_name_is_not_found(clock: FakeClock) -> None:
    """A name that nobody has is CALLER_UNKNOWN_RESOURCE."""
    with pytest.raises(UnknownResource, match="there is no execution"):
        Service(clock).get("executions/none")


async def test_what_can_be_resumed_says_from_where_and_until_when(clock: FakeClock) -> None:
    """While it runs, with KEEP; after its end as long as the journal has its events."""
    service = Service(clock)
    call = service.known.begin(on_disconnect=KEEP)
    assert not service.get("executions/e1").resumable
    record = service.journal.open(call)
    record.buffer.append(started())
    running = service.get("executions/e1")
    assert (True, 0, False) == (
        running.resumable,
        running.resume_after_sequence,
        running.HasField("resume_expire_time"),
    )
    call.outcome.end = completed().completed
    service.known.register.call_ended(call, None)
    service.journal.settle(record)
    ended = service.get("executions/e1")
    assert (True, MIDNIGHT + 1300) == (ended.resumable, ended.resume_expire_time.seconds)
    await clock.advance(301)
    assert not service.get("executions/e1").resumable


async def test_a_running_execution_without_keep_cannot_be_resumed(clock: FakeClock) -> None:
    """Its events are in the journal, but it ends as soon as its caller is lost."""
    service = Service(clock)
    service.journal.open(service.known.begin())
    assert not service.get("executions/e1").resumable


async def test_cancel_returns_the_ended_execution(clock: FakeClock) -> None:
    """The answer to CancelExecution has the state after the end; so has a repeat."""
    service = Service(clock)
    call = service.known.begin()
    service.known.register.runs_apart(call, lambda why: service.known.register.ended(call, why))
    request = pb.CancelExecutionRequest(name="executions/e1")
    first = (await service.api.cancel(service.known.call("x"), request)).execution
    again = (await service.api.cancel(service.known.call("x"), request)).execution
    assert (pb.EXECUTION_STATE_CANCELLED,) * 2 == (first.state, again.state)
    assert "the execution was cancelled by CancelExecution" == again.error.message


async def test_cancel_waits_no_longer_than_its_own_deadline(clock: FakeClock) -> None:
    """A run that is slow to stop is reported as being cancelled."""
    service = Service(clock)
    call = service.known.begin()
    service.known.register.runs_apart(call, lambda _why: None)
    request = pb.CancelExecutionRequest(name="executions/e1")
    late = service.known.call("x").narrowed(budget=FixedBudget(clock.now() + 5))
    asked = asyncio.create_task(service.api.cancel(late, request))
    await settle()
    await clock.advance(6)
    with pytest.raises(DeadlinePassed, match="is being cancelled"):
        await asked


async def test_the_list_is_latest_first_page_by_page(clock: FakeClock) -> None:
    """Names sort by time; a page ends where the next one begins, whatever comes between them."""
    service = Service(clock)
    for number in range(5):
        service.succeeded(f"executions/e{number}")
    service.known.begin("executions/e5")
    first = await service.page(page_size=2)
    assert ["executions/e5", "executions/e4"] == [one.name for one in first.executions]
    service.known.begin("executions/e6")
    seen = []
    token = first.next_page_token
    while token:
        page = await service.page(page_size=2, page_token=token)
        seen += [one.name for one in page.executions]
        token = page.next_page_token
    assert [f"executions/e{number}" for number in (3, 2, 1, 0)] == seen


async def test_the_list_is_filtered(clock: FakeClock) -> None:
    """States, session, labels and batch narrow it; all that is named must hold."""
    service = Service(clock)
    service.succeeded("executions/a", session="sessions/s", labels={"team": "x", "env": "y"})
    service.succeeded("executions/b", labels={"team": "x"})
    service.known.begin("executions/c", session="sessions/s")
    service.known.begin("executions/c.0")
    assert ["executions/c", "executions/a"] == await service.names(session="sessions/s")
    assert ["executions/a"] == await service.names(labels={"team": "x", "env": "y"})
    assert ["executions/b", "executions/a"] == await service.names(labels={"team": "x"})
    assert ["executions/c.0"] == await service.names(batch="executions/c")
    running = await service.names(states=[pb.EXECUTION_STATE_QUEUED])
    assert ["executions/c.0", "executions/c"] == running
    both = await service.names(session="sessions/s", states=[pb.EXECUTION_STATE_SUCCEEDED])
    assert ["executions/a"] == both
    assert [] == await service.names(principal="bob")


async def test_a_foreign_page_token_is_refused(clock: FakeClock) -> None:
    """A token belongs to its list with its filters."""
    service = Service(clock)
    for number in range(3):
        service.succeeded(f"executions/e{number}")
    token = (await service.page(page_size=1)).next_page_token
    with pytest.raises(InvalidRequest, match="page_token"):
        await service.page(page_size=1, page_token=token, session="sessions/s")


async def test_the_list_has_failures_in_short(clock: FakeClock) -> None:
    """A list has code, reason and the beginning of the message; GetExecution has the rest."""
    service = Service(clock)
    error = StreamCut("broken " * 200)
    error.failure = details.ExecutionFailure(finish_message="long " * 1000)
    service.known.register.call_ended(service.known.begin(), error)
    (one,) = (await service.page()).executions
    info = ErrorInfo()
    assert one.error.details[0].Unpack(info)
    assert ("UPSTREAM_STREAM_CUT", 1, 512) == (
        info.reason,
        len(one.error.details),
        len(one.error.message),
    )
    assert not one.HasField("failure")
    assert "long " * 1000 == service.get("executions/e1").failure.finish_message
