"""ExecuteService: unpack, call the upstream, pack."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.call import Call
from gemini_backend.models.names import full_name
from gemini_backend.policies.base import with_model
from gemini_backend.policies.checks.allowed_models import refuse_forbidden
from gemini_backend.policies.checks.unsupported import refuse_unsupported_embedding
from gemini_backend.policies.conversations.conversation import sized

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from google.protobuf.message import Message

    from gemini_backend.api.batch import BatchRunner
    from gemini_backend.api.executions import Executions
    from gemini_backend.api.token_count import TokenCount
    from gemini_backend.upstream.base import Upstream

SERVICE = pb.DESCRIPTOR.services_by_name["ExecuteService"]
Embedder = Callable[[Call, pb.EmbedRequest], Awaitable[pb.EmbedResponse]]
# Process's own message has the same bytes, so that every layer sees one kind of request.
READ_AS: dict[str, type[Message]] = {"Process": pb.ExecuteRequest}


class ExecuteService:
    """What stands innermost in the chain of an execution."""

    def __init__(
        self,
        upstream: Upstream,
        default_model: Callable[[], str],
        batch: BatchRunner,
        embed: Embedder,
        *,
        token_count: TokenCount,
        executions: Executions,
    ) -> None:
        """Answer by `upstream`, the items of a batch by `batch`, vectors by `embed`."""
        self._executions = executions
        self._batch = batch
        self._embed = embed
        self._upstream = upstream
        self._token_count = token_count
        self._default_model = default_model

    def Execute(self, call: Call, request: pb.ExecuteRequest) -> AsyncIterator[pb.ExecuteResponse]:
        """Stream an answer; no generator of its own, for each one costs every message."""
        return self._upstream.stream(call, request)

    def Process(self, call: Call, request: pb.ExecuteRequest) -> Awaitable[pb.ProcessResponse]:
        """Answer with the whole; no coroutine of its own, as above."""
        return self._upstream.process(call, request)

    def BatchExecute(
        self, call: Call, request: pb.BatchExecuteRequest
    ) -> AsyncIterator[pb.BatchExecuteResponse]:
        """Stream each item's result as it comes."""
        return self._batch.results(call, request)

    async def GetExecution(
        self, call: Call, request: pb.GetExecutionRequest
    ) -> pb.GetExecutionResponse:
        """Return what is known of an execution.

        Raises:
            UnknownResource: the caller has none of that name, or it is forgotten.
        """
        return self._executions.get(call, request)

    async def CancelExecution(
        self, call: Call, request: pb.CancelExecutionRequest
    ) -> pb.CancelExecutionResponse:
        """Stop an execution, and return it when it has ended.

        Raises:
            UnknownResource: the caller has none of that name, or it is forgotten.
        """
        return await self._executions.cancel(call, request)

    async def ListExecutions(
        self, call: Call, request: pb.ListExecutionsRequest
    ) -> pb.ListExecutionsResponse:
        """Return a page of the caller's executions."""
        return await self._executions.list(call, request)

    async def Embed(self, call: Call, request: pb.EmbedRequest) -> pb.EmbedResponse:
        """Answer with the vectors of the contents.

        Raises:
            NotImplementedYet: a field asks for what this version cannot do.
            ServiceError: a content could not be embedded.
        """
        refuse_unsupported_embedding(request)
        response = await self._embed(call, request)
        call.outcome.model = response.model
        return response

    async def CountTokens(
        self, call: Call, request: pb.CountTokensRequest
    ) -> pb.CountTokensResponse:
        """Say how many tokens a request has, and who counted.

        Raises:
            UnknownResource: there is no such session, or it is somebody else's.
            Forbidden: the principal may not use the model.
            DeadlinePassed: there was no time for it.
            ServiceError: the model API failed, and nobody was to stand in for it.
        """
        request = await self._token_count.whole(call, request)
        call = sized(call, request)
        model = call.outcome.model = full_name(request.model or self._default_model())
        refuse_forbidden(call, model)
        return await self._token_count.answer(call, with_model(request, model))
