"""Embeddings: the contents of many callers together, the answer with its price."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_backend.models.names import full_name
from gemini_backend.policies.base import with_model
from gemini_backend.policies.checks.allowed_models import refuse_forbidden

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini.backend.v1.execute_service_pb2 import EmbedRequest, EmbedResponse
    from gemini_backend.api.embed_batcher import EmbedBatcher
    from gemini_backend.call import Call


class Embedding:
    """Returns the vectors of contents, for the Embed RPC and for layers that compare by meaning."""

    def __init__(self, batcher: EmbedBatcher, default_model: Callable[[], str]) -> None:
        """Embed through `batcher`; `default_model` gives the model of requests that name none."""
        self._batcher = batcher
        self._default_model = default_model

    async def serve(self, call: Call, request: EmbedRequest) -> EmbedResponse:
        """Return the same for a caller who asks for it.

        Raises:
            Forbidden: the principal may not use the model.
            ServiceError: a content could not be embedded.
        """
        refuse_forbidden(call, self._model_of(request))
        return await self.embed(call, request)

    def _model_of(self, request: EmbedRequest) -> str:
        return full_name(request.model or self._default_model())

    async def embed(self, call: Call, request: EmbedRequest) -> EmbedResponse:
        """Return the vectors of a request's contents, with usage and cost where they are known.

        Raises:
            ServiceError: a content could not be embedded.
        """
        return await self._batcher.embed(call, with_model(request, self._model_of(request)))

    async def aclose(self) -> None:
        """Cancel every call under way and wait for it."""
        await self._batcher.aclose()
