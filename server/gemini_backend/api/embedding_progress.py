"""A batch of embeddings from its start to its end: priced, and published like an execution."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_backend.errors import ServiceError
from gemini_backend.telemetry.events import CANCELLED, OK, ExecutionFinished, ExecutionStarted

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini.backend.v1.content_pb2 import Cost, Usage
    from gemini.backend.v1.execute_service_pb2 import EmbedResponse
    from gemini_backend.call import Call
    from gemini_backend.clock import Clock
    from gemini_backend.policies.base import Unary
    from gemini_backend.telemetry.events import Publisher
    from gemini_backend.upstream.base import EmbedBatch


class EmbeddingProgress:
    """Wraps what sends a batch upstream, once for each batch, however many callers share it.

    So no token and no cost is missing from the sums, and none is counted twice.
    """

    def __init__(
        self,
        send: Unary[EmbedBatch, EmbedResponse],
        clock: Clock,
        bus: Publisher,
        price: Callable[[str, Usage], Cost | None],
    ) -> None:
        """Wrap `send`.

        Args:
            send: Asks the upstream for the vectors of a batch.
            clock: Times it.
            bus: Where start and end are published.
            price: Returns what a usage of a model costs; None where that is not known.
        """
        self._send = send
        self._clock = clock
        self._bus = bus
        self._price = price

    async def embed(self, call: Call, batch: EmbedBatch) -> EmbedResponse:
        """Return the vectors of a batch, with what they cost.

        Raises:
            ServiceError: a content could not be embedded.
        """
        principal = call.principal
        who = (call.execution, call.method, call.work, principal.tenant, principal.name)
        self._bus.publish(ExecutionStarted(*who))
        usage: Usage | None = None
        cost: Cost | None = None
        code, reason = CANCELLED, ""
        try:
            response = await self._send(call, batch)
            code = OK
            if response.HasField("usage"):
                usage = response.usage
                cost = self._price(batch.model, usage)
            if cost is not None:
                response.cost.CopyFrom(cost)
        except ServiceError as error:
            code, reason = error.code.name, error.reason
            raise
        except Exception:
            code, reason = "INTERNAL", "BACKEND_UNEXPECTED"
            raise
        finally:
            self._bus.publish(
                ExecutionFinished(
                    *who,
                    batch.model,
                    code=code,
                    reason=reason,
                    seconds=self._clock.now() - call.arrived,
                    queued_seconds=call.outcome.queued_seconds,
                    usage=usage,
                    cost_nano_usd=None if cost is None else cost.cost_nano_usd,
                    attempts=len(call.outcome.attempts),
                )
            )
        return response
