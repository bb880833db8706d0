"""Embeddings: the contents of many callers together, the answer with its price."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_backend.models.names import full_name
from gemini_backend.policies.base import with_model

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini.backend.v1.execute_service_pb2 import EmbedRequest, EmbedResponse
    from gemini_backend.api.embed_batcher import Gathering
    from gemini_backend.call import Call
    from gemini_backend.policies.outcome.pricing import Pricing


class Embedding:
    """Returns the vectors of contents, for the Embed RPC and for layers that compare by meaning."""

    def __init__(
        self,
        batcher: Gathering,
        pricing: Pricing,
        default_model: Callable[[], str],
        spent: Callable[[str, int], None],
    ) -> None:
        """Embed through `batcher`.

        Args:
            batcher: Sends the contents of several callers together.
            pricing: Knows what they cost.
            default_model: Gives the model of requests that name none.
            spent: Is told what a request cost: the model, and 10^-9 US dollars.
        """
        self._batcher = batcher
        self._pricing = pricing
        self._default_model = default_model
        self._spent = spent

    async def embed(self, call: Call, request: EmbedRequest) -> EmbedResponse:
        """Return the vectors of a request's contents, with usage and cost where they are known.

        Raises:
            ServiceError: a content could not be embedded.
        """
        model = full_name(request.model or self._default_model())
        response = await self._batcher.embed(call, with_model(request, model))
        cost = self._pricing.price(response.model, response.usage)
        if cost is not None and response.HasField("usage"):
            response.cost.CopyFrom(cost)
            self._spent(response.model, cost.cost_nano_usd)
        return response

    async def aclose(self) -> None:
        """Cancel every call under way and wait for it."""
        await self._batcher.aclose()
