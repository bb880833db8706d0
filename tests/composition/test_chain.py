"""The order of the chain is the architecture.

Covers: api/requests/in_flight.py, api/requests/reception.py, api/requests/unexpected.py,
api/requests/work.py, composition/assembly.py, composition/foundation.py,
composition/layer_parts.py, composition/observation.py,
composition/parts.py, composition/services.py, composition/storage.py,
policies/checks/unsupported.py, rpc/abort.py, rpc/interceptors/base.py
"""

from __future__ import annotations

import asyncio
import io
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.call import Work
from gemini_backend.composition.assembly import assembled
from gemini_backend.errors import Cancelled, InvalidRequest, StreamCut
from gemini_backend.policies.chain import Scope
from gemini_backend.principal import ANONYMOUS
from gemini_backend.rpc.call_factory import CallFactory
from gemini_backend.rpc.handlers import Malformed
from gemini_backend.rpc.interceptors.edge import EdgeInterceptor
from gemini_backend.rpc.interceptors.ends import EXECUTION_KEY
from gemini_backend.rpc.mounting import interceptors
from gemini_backend.telemetry.events import RpcFinished
from gemini_backend.telemetry.logs.log_writer import LogWriter
from tests.support.clock import settle
from tests.support.composed import made_parts
from tests.support.layers.inproc import FakeContext, bind, collect, stream_handler, unary_handler
from tests.support.layers.recorder import Recorder
from tests.support.messages.calls import EXECUTE, PROCESS, completed, delta, script, started

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gemini_backend.composition.parts import Parts
    from tests.support.clock import FakeClock


def edge_of(parts: Parts, clock: FakeClock) -> EdgeInterceptor:
    """Return an edge."""
    return EdgeInterceptor(CallFactory(clock), parts.reception(), clock, parts.base.requests)


class Mounted:
    """The chain round one handler, without a socket."""

    def __init__(self, clock: FakeClock) -> None:
        self.log = io.StringIO()
        self.lines = LogWriter(self.log)
        self.asked = pb.ExecuteRequest()
        self.parts = made_parts(clock, JOURNAL__ENABLED="false")
        self.heard = Recorder(self.parts.base.bus)
        self.parts.log_calls(self.lines)
        edge = edge_of(self.parts, clock)
        self.chain = assembled(self.parts, edge=edge).chain

    async def execute(self, handler: Any, request: Any, context: FakeContext) -> list[Any]:
        async def innermost(asked: Any, _context: Any) -> Any:
            self.asked = asked
            async for event in handler(None, asked):
                yield event

        bound = await bind(interceptors(self.chain), stream_handler(innermost), EXECUTE)
        return await collect(bound.unary_stream(request, context))

    async def process(self, handler: Any, request: Any, context: FakeContext) -> Any:
        bound = await bind(interceptors(self.chain), unary_handler(handler), PROCESS)
        return await bound.unary_unary(request, context)

    def ends(self) -> list[tuple[str, str, str]]:
        """Return how each RPC has ended."""
        return [(one.method, one.code, one.reason) for one in self.heard.of(RpcFinished)]

    def logged(self) -> str:
        self.lines.flush()
        return self.log.getvalue()


@pytest.fixture
async def mounted(clock: FakeClock) -> AsyncIterator[Mounted]:
    """Return the chain as by default, but without the journal."""
    made = Mounted(clock)
    yield made
    await made.parts.aclose()


def test_batch_items_run_the_execution_layers(mounted: Mounted) -> None:
    """An item of a batch runs what wraps executions, validated, nothing of the RPC's."""
    item = list(mounted.chain.pipeline(Work.ITEM).layers)
    scopes = (Scope.REQUEST, Scope.EXECUTION, Scope.MODEL)
    rows = [row for row in mounted.chain if row.layer is not None]
    assert [row.layer for row in rows if row.scope in scopes] == item
    assert {"tracing", "edge", "deadline", "audit"} == {
        row.name for row in mounted.chain if row.scope not in scopes
    }


async def test_a_good_stream_passes_the_whole_chain(mounted: Mounted, clock: FakeClock) -> None:
    """Events come out numbered; metrics and log see OK; the model has its full name."""
    request = pb.ExecuteRequest(prompt="secret words")
    handler = script(clock, started(), delta("private answer"), completed())
    events = await mounted.execute(handler, request, FakeContext())
    assert [1, 2, 3] == [event.sequence for event in events]
    assert "models/gemini-flash-latest" == mounted.asked.model
    assert [(EXECUTE, "OK", "")] == mounted.ends()
    assert '"code":"OK"' in mounted.logged()


async def test_no_log_line_holds_what_was_said(mounted: Mounted, clock: FakeClock) -> None:
    """Neither prompt nor answer reaches the log."""
    handler = script(clock, started(), delta("private answer"), completed())
    await mounted.execute(handler, pb.ExecuteRequest(prompt="secret words"), FakeContext())
    assert "secret" not in mounted.logged()
    assert "private" not in mounted.logged()


async def test_a_typed_failure_becomes_a_status(mounted: Mounted, clock: FakeClock) -> None:
    """What is raised innermost reaches the caller with its code, reason and details."""
    context = FakeContext()
    handler = script(clock, started(), delta("a"), StreamCut("cut"))
    with pytest.raises(grpc.aio.AbortError):
        await mounted.execute(handler, pb.ExecuteRequest(prompt="x"), context)
    assert (grpc.StatusCode.UNAVAILABLE, "cut") == (context.ended_with, context.said)
    assert [(EXECUTE, "UNAVAILABLE", "UPSTREAM_STREAM_CUT")] == mounted.ends()
    status = status_pb2.Status.FromString(dict(context.trailers)["grpc-status-details-bin"])
    info = error_details_pb2.ErrorInfo()
    status.details[0].Unpack(info)
    assert "UPSTREAM_STREAM_CUT" == info.reason


async def test_a_defect_is_told_by_an_id_only(mounted: Mounted, clock: FakeClock) -> None:
    """A foreign exception becomes INTERNAL; its words do not leave the process."""
    context = FakeContext()
    with pytest.raises(grpc.aio.AbortError):
        await mounted.execute(
            script(clock, KeyError("private")), pb.ExecuteRequest(prompt="x"), context
        )
    assert grpc.StatusCode.INTERNAL == context.ended_with
    assert "private" not in context.said
    assert "private" not in mounted.logged()
    assert [(EXECUTE, "INTERNAL", "BACKEND_UNEXPECTED")] == mounted.ends()


async def test_an_unreadable_request_is_a_typed_failure(mounted: Mounted) -> None:
    """What the deserializer could not read is raised where statuses are made."""
    context = FakeContext()
    with pytest.raises(grpc.aio.AbortError):
        await mounted.process(_never, Malformed(InvalidRequest("unreadable")), context)
    assert grpc.StatusCode.INVALID_ARGUMENT == context.ended_with


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (pb.ExecuteRequest(), grpc.StatusCode.INVALID_ARGUMENT),
        (pb.ExecuteRequest(prompt="x", session="sessions/a"), grpc.StatusCode.NOT_FOUND),
        (
            pb.ExecuteRequest(resume=pb.Resume(execution="executions/e")),
            grpc.StatusCode.UNIMPLEMENTED,
        ),
    ],
)
async def test_a_refusal_comes_before_the_handler(
    mounted: Mounted, request_: Any, code: grpc.StatusCode
) -> None:
    """What is invalid or not to be had never reaches the upstream."""
    context = FakeContext()
    with pytest.raises(grpc.aio.AbortError):
        await mounted.process(_never, request_, context)
    assert code == context.ended_with


async def test_a_deadline_already_past_is_refused(mounted: Mounted) -> None:
    """No time left is a refusal, not a hang."""
    context = FakeContext(left=0.0)
    with pytest.raises(grpc.aio.AbortError):
        await mounted.process(_never, pb.ExecuteRequest(prompt="x"), context)
    assert grpc.StatusCode.DEADLINE_EXCEEDED == context.ended_with


async def test_a_caller_who_leaves_is_counted_as_cancelled(
    mounted: Mounted, clock: FakeClock
) -> None:
    """A cancelled call ends as CANCELLED in metrics and log, and is no failure of ours."""
    handler = script(clock, started(), 1000)
    task = asyncio.ensure_future(
        mounted.execute(handler, pb.ExecuteRequest(prompt="x"), FakeContext())
    )
    await clock.advance(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [(EXECUTE, "CANCELLED", "CALLER_CANCELLED")] == mounted.ends()
    assert '"reason":"CALLER_CANCELLED"' in mounted.logged()


async def test_other_services_are_left_alone(mounted: Mounted) -> None:
    """A method that is not ours is handed through as it is; an unknown one stays unknown."""
    handler = unary_handler(_never)
    built = interceptors(mounted.chain)
    assert await bind(built, handler, "/grpc.health.v1.Health/Check") is handler
    assert await bind(built, None, EXECUTE) is None


async def _never(_request: Any, _context: Any) -> Any:
    pytest.fail("the handler ran")


async def test_the_name_is_sent_before_anything_waits(mounted: Mounted, clock: FakeClock) -> None:
    """Initial metadata have the execution's name while the model is still silent."""
    context = FakeContext()
    handler = script(clock, 1000, started(), completed())
    waits = asyncio.ensure_future(mounted.execute(handler, pb.ExecuteRequest(prompt="x"), context))
    await settle()
    ((key, name),) = context.initial
    assert "gemini-backend-execution" == key
    found = mounted.parts.kept.executions.get(ANONYMOUS, name)
    assert pb.EXECUTION_STATE_QUEUED == found.state
    waits.cancel()
    await asyncio.wait({waits})
    found = mounted.parts.kept.executions.get(ANONYMOUS, name)
    assert pb.EXECUTION_STATE_CANCELLED == found.state


async def test_a_refusal_is_known_before_its_caller_is_told(
    mounted: Mounted, clock: FakeClock
) -> None:
    """A request that breaks many rules fails; all of them can be read by its name."""
    context = FakeContext()
    labels = {f"{'K' * 100}{number}": "v" for number in range(150)}
    with pytest.raises(grpc.aio.AbortError):
        await mounted.execute(script(clock), pb.ExecuteRequest(prompt="x", labels=labels), context)
    found = mounted.parts.kept.executions.get(ANONYMOUS, dict(context.initial)[EXECUTION_KEY])
    assert (pb.EXECUTION_STATE_FAILED, 3) == (found.state, found.error.code)
    broken = error_details_pb2.BadRequest()
    assert found.error.details[1].Unpack(broken)
    assert len(broken.field_violations) >= 150


async def test_cancel_ends_the_call_with_its_reason(mounted: Mounted, clock: FakeClock) -> None:
    """Whoever is connected hears that the execution was cancelled, and what it used."""
    context = FakeContext()
    handler = script(clock, started(), delta("a", 12), 1000, completed())
    waits = asyncio.ensure_future(mounted.execute(handler, pb.ExecuteRequest(prompt="x"), context))
    await settle()
    name = dict(context.initial)[EXECUTION_KEY]
    why = Cancelled("stopped")
    ended = await mounted.parts.kept.executions.cancel(ANONYMOUS, name, why)
    with pytest.raises(grpc.aio.AbortError):
        await waits
    assert (grpc.StatusCode.CANCELLED, "stopped") == (context.ended_with, context.said)
    assert [(EXECUTE, "CANCELLED", "CALLER_CANCELLED")] == mounted.ends()
    assert (pb.EXECUTION_STATE_CANCELLED, 2, 12) == (
        ended.state,
        ended.failure.last_sequence,
        ended.usage.total_token_count,
    )


async def test_who_resumes_is_told_the_name_that_is_resumed(clock: FakeClock) -> None:
    """The initial metadata of a resumed stream are those of its execution; of none, none."""
    parts = made_parts(clock)
    edge = edge_of(parts, clock)
    chain = interceptors(assembled(parts, edge=edge).chain)
    bound = await bind(chain, stream_handler(script(clock, started(), completed())), EXECUTE)
    first, again, unknown = FakeContext(), FakeContext(), FakeContext()
    await collect(bound.unary_stream(pb.ExecuteRequest(prompt="x"), first))
    name = dict(first.initial)[EXECUTION_KEY]
    resume = pb.ExecuteRequest(resume=pb.Resume(execution=name))
    assert 2 == len(await collect(bound.unary_stream(resume, again)))
    assert first.initial == again.initial
    resume.resume.execution = "executions/none"
    with pytest.raises(grpc.aio.AbortError):
        await collect(bound.unary_stream(resume, unknown))
    assert () == unknown.initial
    await parts.aclose()
