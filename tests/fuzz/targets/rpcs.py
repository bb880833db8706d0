"""Every RPC, through the whole chain: an answer or a typed failure, and never a defect.

Callers of two tenants take turns: what one of them wrote is in no answer to the other.
"""

from __future__ import annotations

import asyncio
import tempfile
from functools import cache
from typing import TYPE_CHECKING, Any

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.api.execute import READ_AS
from gemini_backend.api.requests.status import status_of
from gemini_backend.api.requests.unexpected import service_error_of
from gemini_backend.api.requests.work import work_of
from gemini_backend.call import Call, FixedBudget
from gemini_backend.clock import SystemClock
from gemini_backend.principal import ANONYMOUS, Principal
from gemini_backend.rpc.contract import SERVICES
from tests.fuzz.draws import Draws
from tests.fuzz.messages import Author
from tests.support.composed import NoUpstream, composed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from google.protobuf.descriptor import MethodDescriptor

    from gemini_backend.composition.assembly import Assembly

_SECONDS, _HANGS_AFTER = 0.05, 20.0
# Settings change with what is called, and sessions are kept: each part lives for so many calls.
_CALLS_OF_ONE = 300
_EVENTS = 3
_CALLERS = (ANONYMOUS, Principal("acme", "ann"), Principal("other", "bob"))
_MARKS = {one: f"only-of-{one.name}" for one in _CALLERS[1:]}
# What belongs to its caller; other services are about the server as a whole.
_OWN = {"ExecuteService", "SessionService"}


class _Upstream(NoUpstream):
    """Answers everything alike, without a network."""

    async def process(self, _call: Any, request: Any) -> Any:
        parts = [content.Part(text=f"answer to {request.prompt}")]
        made = pb.ProcessResponse(started=pb.Started(model=request.model))
        made.candidates.add(content=content.Content(role="model", parts=parts))
        return made

    async def stream(self, _call: Any, request: Any) -> AsyncIterator[Any]:
        yield pb.ExecuteResponse(started=pb.Started(model=request.model))
        parts = [content.Part(text=f"answer to {request.prompt}")]
        yield pb.ExecuteResponse(delta=pb.Delta(parts=parts))
        yield pb.ExecuteResponse(completed=pb.Completed(finish_reason=content.FINISH_REASON_STOP))

    async def count_tokens(self, _call: Any, _request: Any) -> Any:
        return pb.CountTokensResponse(total_tokens=1)

    async def embed(self, _call: Any, batch: Any) -> Any:
        made = pb.EmbedResponse()
        for _ in batch.requests:
            made.embeddings.add(values=[1.0])
        return made


class _Server:
    """The product without its doors; put together anew from time to time."""

    def __init__(self) -> None:
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory(prefix="fuzz-")
        self.calls = 0
        self.methods = [one for service in SERVICES for one in service.methods]
        self.made: tuple[Any, Assembly] | None = None

    def check(self, data: bytes) -> None:
        self.runner.run(self._check(data))

    async def _check(self, data: bytes) -> None:
        self.calls += 1
        if self.made is None or self.calls % _CALLS_OF_ONE == 0:
            await self._put_together()
        draws = Draws(data)
        for _ in range(1 + draws.below(3)):
            method = draws.one_of(self.methods)
            read_as = READ_AS.get(method.name)
            kind = method.input_type if read_as is None else read_as.DESCRIPTOR
            caller = draws.one_of(_CALLERS)
            own = method.containing_service.name in _OWN
            request = Author(draws, _MARKS.get(caller, "") if own else "").message(kind)
            asked = self._call(method, request, caller)
            error = await asyncio.wait_for(asked, _HANGS_AFTER)
            assert error is None or error.reason != "BACKEND_UNEXPECTED", repr(request)[:2000]

    async def _put_together(self) -> None:
        if self.made is not None:
            parts, assembly = self.made
            await assembly.aclose()
            await parts.aclose()
        settings = {"STATE__DIR": self.folder.name, "SESSIONS__STORE": "memory"}
        self.made = composed(SystemClock(), _Upstream(), **settings)

    async def _call(self, method: MethodDescriptor, request: Any, caller: Principal) -> Any:
        """Return the failure of a call; None where it was answered."""
        assert self.made is not None
        parts, assembly = self.made
        path = f"/{method.containing_service.full_name}/{method.name}"
        service = assembly.services.get(method.containing_service.name)
        handler = getattr(service, method.name, None)
        if handler is None:
            return None
        now = parts.base.clock.now()
        call = Call(
            path,
            f"executions/fuzz{self.calls}",
            now,
            work_of(path),
            FixedBudget(now + _SECONDS),
            caller,
            request_id=getattr(request, "request_id", ""),
            peer="fuzz",
        )
        reception = parts.reception()
        code, reason = "OK", ""
        try:
            try:
                reception.arrived(call)
                reception.begin(call, request)
                async with asyncio.timeout(2 * _SECONDS):
                    await self._answer(assembly, method, handler, call, request)
            except TimeoutError:
                code = "CANCELLED"
        except Exception as error:
            known = call.outcome.error = service_error_of(call, error)
            code, reason = known.code.name, known.reason
            assert status_of(known).SerializeToString()
            if reason == "BACKEND_UNEXPECTED":
                raise
            return known
        finally:
            reception.end(call, code, reason)
        return None

    async def _answer(
        self, assembly: Assembly, method: MethodDescriptor, handler: Any, call: Call, request: Any
    ) -> None:
        pipeline = assembly.chain.pipeline(call.work)
        if not method.server_streaming:
            answer = await pipeline.unary(handler)(call, request)
            _check_answer(call, answer)
            return
        events = pipeline.stream(handler)(call, request)
        try:
            for _ in range(_EVENTS):
                event = await anext(events, None)
                if event is None:
                    return
                _check_answer(call, event)
        finally:
            await events.aclose()  # type: ignore[attr-defined] # a generator


def _check_answer(call: Call, answer: Any) -> None:
    """Check that an answer can be sent, and has nothing of other callers."""
    data = answer if type(answer) is bytes else answer.SerializeToString()
    if call.method.split(".")[-1].partition("/")[0] in _OWN:
        others = [mark for one, mark in _MARKS.items() if one is not call.principal]
        assert [] == [mark for mark in others if mark.encode() in data], call.method


@cache
def _server() -> _Server:
    return _Server()


def check(data: bytes) -> None:
    """Call one to three RPCs with random messages."""
    _server().check(data)
