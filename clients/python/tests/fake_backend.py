"""A small server of the contract, scripted by each test."""
# ruff: noqa: N802 - the methods are named by the contract

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.status_pb2 import Status

from gemini.backend.v1 import (
    execute_service_pb2_grpc,
    model_service_pb2_grpc,
    session_service_pb2_grpc,
)
from gemini.backend.v1.content_pb2 import Content, FunctionCall, Part, Usage
from gemini.backend.v1.execute_service_pb2 import (
    EXECUTION_STATE_CANCELLED,
    BatchExecuteResponse,
    CancelExecutionResponse,
    Completed,
    CountTokensResponse,
    Delta,
    EmbedResponse,
    ExecuteResponse,
    Execution,
    GetExecutionResponse,
    ListExecutionsResponse,
    ProcessResponse,
    Started,
)
from gemini.backend.v1.model_service_pb2 import GetModelResponse, ListModelsResponse, Model
from gemini.backend.v1.session_service_pb2 import CreateSessionResponse, DeleteSessionResponse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.message import Message

PATIENCE = 10.0
"""Seconds after which a test gives up on something that ought to happen at once."""


@dataclass
class Failure:
    """A status that the fake server ends a call with."""

    code: grpc.StatusCode
    message: str = "it failed"
    details: tuple[Message, ...] = ()
    trailers: tuple[tuple[str, str], ...] = ()

    def end(self, context: grpc.ServicerContext) -> None:
        """End the call."""
        status = Status(code=self.code.value[0], message=self.message)
        for detail in self.details:
            packed = AnyMessage()
            packed.Pack(detail)
            status.details.append(packed)
        context.set_trailing_metadata(
            (("grpc-status-details-bin", status.SerializeToString()), *self.trailers)
        )
        context.abort(self.code, self.message)


@dataclass
class Pause:
    """A point where the fake server waits until the test goes on, or the client has left."""

    over: threading.Event = field(default_factory=threading.Event)


class Lost:
    """The connection breaks: the call ends without a status of the server's own."""


def piece(text: str, **fields: Any) -> ExecuteResponse:
    """Return a delta with one part of text."""
    return ExecuteResponse(delta=Delta(parts=[Part(text=text, **fields)]))


def whole(**fields: Any) -> ExecuteResponse:
    """Return the last event of a stream."""
    return ExecuteResponse(completed=Completed(**{"finish_reason": "FINISH_REASON_STOP", **fields}))


STARTED = ExecuteResponse(
    started=Started(model="models/asked", served_model="models/served", model_version="served-001")
)
USAGE = Usage(prompt_token_count=3, candidates_token_count=2, total_token_count=5)
HELLO = (STARTED, piece("Hel"), piece("lo"), whole(usage=USAGE))


class FakeBackend(
    execute_service_pb2_grpc.ExecuteServiceServicer,
    model_service_pb2_grpc.ModelServiceServicer,
    session_service_pb2_grpc.SessionServiceServicer,
):
    """Answers each call by the next script; without one, says hello."""

    def __init__(self) -> None:
        """Start with nothing seen and nothing scripted."""
        self.scripts: deque[tuple[object, ...]] = deque()
        self.requests: list[Any] = []
        self.metadata: list[dict[str, str | bytes]] = []
        self.remaining: list[float | None] = []
        self.left = threading.Event()
        self.port = 0
        self.names: deque[str] = deque()  # sent as initial metadata, one with each call

    @property
    def target(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.port}"

    def script(self, *steps: object) -> None:
        """Let the next call that has no script yet go through these steps."""
        self.scripts.append(steps)

    def _play(self, request: object, context: grpc.ServicerContext) -> Iterator[Any]:
        self.requests.append(request)
        self.metadata.append(dict(context.invocation_metadata()))
        self.remaining.append(context.time_remaining())
        context.add_callback(self.left.set)
        if self.names:
            name = self.names.popleft()
            context.send_initial_metadata((("gemini-backend-execution", name),))
        for step in self.scripts.popleft() if self.scripts else HELLO:
            if isinstance(step, Failure):
                step.end(context)
            elif isinstance(step, Lost):
                context.abort(grpc.StatusCode.UNAVAILABLE, "connection reset")
            elif isinstance(step, Pause):
                context.add_callback(step.over.set)
                step.over.wait(PATIENCE)
            else:
                yield step

    def _one(self, request: object, context: grpc.ServicerContext, default: object) -> Any:
        if not self.scripts:
            self.script(default)
        (answer,) = self._play(request, context)
        return answer

    def Execute(self, request: Any, context: Any) -> Iterator[ExecuteResponse]:
        """Number the scripted events."""
        after = request.resume.after_sequence
        for sequence, event in enumerate(self._play(request, context), start=after + 1):
            numbered = ExecuteResponse(execution="e-1", sequence=sequence)
            numbered.MergeFrom(event)
            yield numbered

    def Process(self, request: Any, context: Any) -> ProcessResponse:
        """Answer as a whole."""
        answer = ProcessResponse(execution="e-1", usage=USAGE)
        answer.candidates.add(
            content=Content(role="model", parts=[Part(text="Hello")]), finish_reason=1
        )
        return self._one(request, context, answer)

    def BatchExecute(self, request: Any, context: Any) -> Iterator[BatchExecuteResponse]:
        """Give the scripted results."""
        yield from self._play(request, context)

    def GetExecution(self, request: Any, context: Any) -> GetExecutionResponse:
        """Give one."""
        answer = GetExecutionResponse(execution=Execution(name=request.name))
        return self._one(request, context, answer)

    def CancelExecution(self, request: Any, context: Any) -> CancelExecutionResponse:
        """Give one that was cancelled."""
        ended = Execution(name=request.name, state=EXECUTION_STATE_CANCELLED)
        return self._one(request, context, CancelExecutionResponse(execution=ended))

    def ListExecutions(self, request: Any, context: Any) -> ListExecutionsResponse:
        """Give three, two a page."""
        self.requests.append(type(request).FromString(request.SerializeToString()))
        names = ["executions/a"] if request.page_token else ["executions/c", "executions/b"]
        return ListExecutionsResponse(
            executions=[Execution(name=name) for name in names],
            next_page_token="" if request.page_token else "2",
        )

    def CountTokens(self, request: Any, context: Any) -> CountTokensResponse:
        """Count."""
        return self._one(request, context, CountTokensResponse(total_tokens=7))

    def Embed(self, request: Any, context: Any) -> EmbedResponse:
        """Embed."""
        return self._one(request, context, EmbedResponse(embeddings=[{"values": [0.5]}]))

    def ListModels(self, request: Any, context: Any) -> ListModelsResponse:
        """Give three models, two a page."""
        self.requests.append(type(request).FromString(request.SerializeToString()))
        if request.page_token:
            return ListModelsResponse(models=[Model(name="models/c")])
        models = [Model(name="models/a"), Model(name="models/b")]
        return ListModelsResponse(models=models, next_page_token="2")

    def GetModel(self, request: Any, context: Any) -> GetModelResponse:
        """Give one."""
        return self._one(request, context, GetModelResponse(model=Model(name=request.name)))

    def CreateSession(self, request: Any, context: Any) -> CreateSessionResponse:
        """Give one."""
        return self._one(request, context, CreateSessionResponse())

    def DeleteSession(self, request: Any, context: Any) -> DeleteSessionResponse:
        """Take it away."""
        return self._one(request, context, DeleteSessionResponse())


def function_call_event(name: str, signature: bytes) -> ExecuteResponse:
    """Return a delta in which the model asks for a function."""
    call = FunctionCall(id="call-1", name=name, args={"city": "Paris"})
    return ExecuteResponse(
        delta=Delta(parts=[Part(function_call=call, thought_signature=signature)])
    )
