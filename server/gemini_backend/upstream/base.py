"""The one seam between the chain and a model API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from gemini_backend.models.listing import UpstreamModel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gemini.backend.v1.execute_service_pb2 import (
        CountTokensRequest,
        CountTokensResponse,
        EmbedResponse,
        ExecuteRequest,
        ExecuteResponse,
        ProcessResponse,
    )
    from gemini_backend.call import Call
    from gemini_backend.policies.sharing.gathering import EmbedBatch


__all__ = ["Upstream", "UpstreamModel"]


class Upstream(Protocol):
    """A model API.

    Every method raises a `ServiceError` when it fails, lets CancelledError pass, and closes its
    connection at once when it is left early. `request.model` is always set, a full name to which
    it has no `objection`.
    """

    @property
    def name(self) -> str:
        """What it is called in health, metrics and logs."""
        ...

    def objection(self, model: str) -> str:
        """Return why it can have no model of such a name, in words; empty where it may."""
        ...

    def stream(self, call: Call, request: ExecuteRequest) -> AsyncIterator[ExecuteResponse]:
        """Yield `started`, deltas, `usage` where it comes alone, `completed`.

        The first event is not yielded before the first piece of the answer is there: until then
        the answer may still be had elsewhere. `execution`, `sequence`, cost, timing and attempts
        are left to the layers outside.
        """
        ...

    async def process(self, call: Call, request: ExecuteRequest) -> ProcessResponse:
        """Return the whole answer; candidates, prompt feedback, usage and `started` are set."""
        ...

    async def count_tokens(self, call: Call, request: CountTokensRequest) -> CountTokensResponse:
        """Count the tokens of a request without running it."""
        ...

    async def embed(self, call: Call, batch: EmbedBatch) -> EmbedResponse:
        """Return the vectors of a batch, one a content, in order."""
        ...

    async def models(self, timeout_seconds: float) -> list[UpstreamModel]:
        """Return every model that the upstream offers, all pages."""
        ...

    def connections(self) -> int:
        """Return how many connections are in use just now."""
        ...

    async def aclose(self) -> None:
        """Close every connection."""
        ...
