"""The one seam between the chain and a model API."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from gemini.backend.v1 import content_pb2
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.models.listing import UpstreamModel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from gemini_backend.call import Call


__all__ = ["EmbedBatch", "Upstream", "UpstreamModel"]


@dataclass(frozen=True, slots=True)
class EmbedBatch:
    """Contents to be embedded by one model, each a request of its own with one content.

    The policies see it as they see an execution: its contents count as a prompt.
    """

    model: str
    requests: Sequence[pb.EmbedRequest]
    prompt: str = ""
    system_instruction: content_pb2.Content = field(default_factory=content_pb2.Content)
    priority: pb.Priority.ValueType = pb.PRIORITY_INTERACTIVE

    @property
    def contents(self) -> list[content_pb2.Content]:
        """All contents, in order."""
        return [request.contents[0] for request in self.requests]


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

    def stream(self, call: Call, request: pb.ExecuteRequest) -> AsyncIterator[pb.ExecuteResponse]:
        """Yield `started`, deltas, `usage` where it comes alone, `completed`.

        The first event is not yielded before the first piece of the answer is there: until then
        the answer may still be had elsewhere. `execution`, `sequence`, cost, timing and attempts
        are left to the layers outside.
        """
        ...

    async def process(self, call: Call, request: pb.ExecuteRequest) -> pb.ProcessResponse:
        """Return the whole answer; candidates, prompt feedback, usage and `started` are set."""
        ...

    async def count_tokens(
        self, call: Call, request: pb.CountTokensRequest
    ) -> pb.CountTokensResponse:
        """Count the tokens of a request without running it."""
        ...

    async def embed(self, call: Call, batch: EmbedBatch) -> pb.EmbedResponse:
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
