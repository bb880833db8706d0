"""Each answer says what it cost, by the prices of the model that served."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from gemini.backend.v1.content_pb2 import ServiceTier, TrafficType
from gemini_backend.models.prices import cost_of
from gemini_backend.policies.base import Ready, opened

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import date

    from gemini.backend.v1.content_pb2 import Cost, Usage
    from gemini_backend.call import Call
    from gemini_backend.models.entries import Tier
    from gemini_backend.models.registry import Registry
    from gemini_backend.policies.base import Stream, Unary

# Prices of answers given again; beyond so many, and when a day ends, all are forgotten.
_REMEMBERED = 4096
_TIERS = {"batch", "flex", "priority"}


class Pricing:
    """Fills in `cost`; nothing where the model's prices are not known.

    An answer that another call paid for, out of the cache or shared, costs nothing and says what
    it saved. Looks at the last event of a stream, and at those with grounding.
    """

    def __init__(self, registry: Registry) -> None:
        """Take prices from `registry`."""
        self._registry = registry
        self._day: date | None = None
        self._prices: dict[tuple[str, bytes, int], Cost | None] = {}

    async def unary(self, call: Call, request: Any, proceed: Unary[Any, Any], /) -> Any:
        """Answer with the cost."""
        response = await proceed(call, request)
        queries: set[str] = set()
        for one in response.candidates:
            queries.update(one.grounding_metadata.web_search_queries)
        version = response.started.model_version or request.model
        cost = self._cost(call, version, response.usage, len(queries))
        if cost is not None:
            response.cost.CopyFrom(cost)
            call.cost_nano_usd = cost.cost_nano_usd
        return response

    def stream(self, call: Call, request: Any, proceed: Stream[Any, Any], /) -> AsyncIterator[Any]:
        """Hand events on; `completed` says what they cost."""
        events = proceed(call, request)
        if type(events) is not Ready:
            return self._stream(call, request, events)
        queries: set[str] = set()
        for event in events.events:
            self._look(call, request, event, queries)
        return events

    async def _stream(
        self, call: Call, request: Any, events: AsyncIterator[Any]
    ) -> AsyncIterator[Any]:
        queries: set[str] = set()
        async with opened(events) as opened_events:
            async for event in opened_events:
                self._look(call, request, event, queries)
                yield event

    def _look(self, call: Call, request: Any, event: Any, queries: set[str]) -> None:
        """Look at one event; it may tell again of searches that one before it has told."""
        if event.HasField("completed"):
            done = event.completed
            version = done.model_version or request.model
            cost = self._cost(call, version, done.usage, len(queries))
            if cost is not None:
                done.cost.CopyFrom(cost)
                call.cost_nano_usd = cost.cost_nano_usd
        elif event.HasField("delta") and event.delta.HasField("grounding_metadata"):
            queries.update(event.delta.grounding_metadata.web_search_queries)

    def price(self, version: str, usage: Usage) -> Cost | None:
        """Return what a usage of a model costs now; None where that is not known."""
        return self._price(version, usage, 0)

    def saved(self, version: str, usage: Usage) -> int:
        """Return what an answer of a model would have cost; 0 where that is not known."""
        cost = self._price_again(version, usage, 0)
        return 0 if cost is None else cost.cost_nano_usd

    def _cost(self, call: Call, version: str, usage: Usage, searches: int) -> Cost | None:
        if call.pays:
            return self._price(version, usage, searches)
        cost = self._price_again(version, usage, searches)
        if cost is None:
            return None
        return type(cost)(saved_nano_usd=cost.cost_nano_usd, priced_model=cost.priced_model)

    def _price_again(self, version: str, usage: Usage, searches: int) -> Cost | None:
        """Return the price of what was bought before; the same answers are given many times."""
        today = self._registry.now().date()
        if today != self._day or len(self._prices) >= _REMEMBERED:
            self._day = today
            self._prices.clear()
        key = (version, usage.SerializeToString(), searches)
        if key not in self._prices:
            self._prices[key] = self._price(version, usage, searches)
        return self._prices[key]

    def _price(self, version: str, usage: Usage, searches: int) -> Cost | None:
        entry = self._registry.catalogue.billed(version)
        if entry is None:
            return None
        now = self._registry.now()
        return cost_of(entry, usage, now, tier=tier_of(usage), searches=searches)

    def __repr__(self) -> str:
        """Name the policy."""
        return "Pricing()"


def tier_of(usage: Usage) -> Tier:
    """Return at which terms it was served: by `serviceTier`, or a `trafficType` such as X_FLEX."""
    named = usage.service_tier_raw or usage.traffic_type_raw
    if usage.service_tier:
        named = ServiceTier.Name(usage.service_tier)
    elif usage.traffic_type:
        named = TrafficType.Name(usage.traffic_type)
    tier = named.lower().rpartition("_")[2]
    return cast("Tier", tier) if tier in _TIERS else "standard"
