"""Each answer says what it cost, by the prices of the model that served."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

from gemini.backend.v1.content_pb2 import Cost, ServiceTier, TrafficType, Usage, UsageQuality
from gemini.backend.v1.error_details_pb2 import ExecutionFailure
from gemini_backend.errors import ServiceError
from gemini_backend.models.prices import cost_by, cost_of, price_at
from gemini_backend.policies.event_stream import Watch
from gemini_backend.policies.outcome.pricing_gaps import (
    AnswerFacts,
    filled,
    is_all_text,
    leaves_nothing_out,
)
from gemini_backend.policies.outcome.usage_sums import add_cost, used_so_far
from gemini_backend.policies.relay import Hook

if TYPE_CHECKING:
    from datetime import date

    from gemini.backend.v1.execute_service_pb2 import Completed, Delta, Started
    from gemini_backend.call import Call, Hop
    from gemini_backend.models.catalogue_schema import CatalogueEntry, Tier
    from gemini_backend.models.registry import Registry
    from gemini_backend.policies.relay import Run

# Prices of answers given again; beyond so many, and when a day ends, all are forgotten.
_REMEMBERED = 4096
_TIERS = {"batch", "flex", "priority"}
_TIER_NAMES: dict[int, str] = {number: name for name, number in ServiceTier.items()}
_ESTIMATED = UsageQuality.USAGE_QUALITY_ESTIMATED


class _Bought(NamedTuple):
    """What was bought: of which model, at which terms, with how many searches."""

    version: str
    tier: Tier
    searches: int = 0


class Pricing(Hook):
    """Fills in `cost`; nothing where the model's prices are not known.

    An answer that another call paid for, out of the cache or shared, costs nothing and says what
    it saved. Where usage leaves out what the price depends on, that is estimated (`pricing_gaps`),
    and the usage's quality says so. An answer of several hops costs what they cost, each at its own
    version, tier, size and time. Of a stream it looks at the first event and the last, at those
    with grounding, and at all until one has counted what was said. What a new answer says of its
    model's life is handed to the registry.
    """

    def __init__(self, registry: Registry) -> None:
        """Take prices from `registry`."""
        self._registry = registry
        self._day: date | None = None
        self._prices: dict[tuple[_Bought, bytes], Cost | None] = {}
        self._edition: object = None
        self._savings: dict[tuple[str, bytes], int] = {}

    def begin(self, run: Run, /) -> None:
        """Watch the answer, which says what it costs, or else the failure."""
        run.watches.append(_Priced(self, run.call, run.request))

    def begun(self, call: Call, started: Started, told: AnswerFacts) -> None:
        """Note which model serves."""
        told.begun(self._entry(started.served_model))
        self.learn(call, started)

    def learn(self, call: Call, served: Started | Completed) -> None:
        """Let the registry know what an answer that was just bought says of its model."""
        if call.outcome.pays and served.HasField("model_status"):
            self._registry.learn(served.model_version, served.model_status)

    def price(self, version: str, usage: Usage) -> Cost | None:
        """Return what a usage of a model costs now; None where that is not known."""
        return self._price(_Bought(version, tier_of(usage)), usage)

    def saved(self, version: str, usage: Usage) -> int:
        """Return what an answer of a model would have cost; 0 where that is not known."""
        if self._entry(version) is None:
            return 0
        edition, key = self._registry.edition(), (version, usage.SerializeToString())
        if edition != self._edition or len(self._savings) >= _REMEMBERED:
            self._edition = edition
            self._savings.clear()
        saved = self._savings.get(key)
        if saved is None:
            cost = self.price(version, usage)
            saved = self._savings[key] = 0 if cost is None else cost.cost_nano_usd
        return saved

    def put_cost(
        self, call: Call, request: Any, answer: Any, served: Started | Completed, told: AnswerFacts
    ) -> None:
        """Write into a whole answer, or the last event of one, what it cost."""
        if self.put_known(call, request, answer, type(served)):
            return
        version = served.model_version or request.model
        if self.has_no_price(call, version):
            _put_quality(answer, estimated=False)
            return
        bought = _Bought(version, tier_of(answer.usage, served), len(told.queries))
        cost = self._known_saving(call, request, answer.usage, bought, told)
        if cost is None:
            cost = self._cost(call, request, answer, bought, told)
        elif call.outcome.given is not None:
            whole = bool(answer.usage.prompt_tokens_details)
            call.outcome.given.costs[type(served)] = self._registry.edition(), whole, cost
        if cost is not None:
            answer.cost.CopyFrom(cost)
            call.outcome.cost_nano_usd = cost.cost_nano_usd

    def has_no_price(self, call: Call, version: str) -> bool:
        """Return whether an answer of that version costs what nobody knows, whatever is in it."""
        return self._entry(version) is None and len(call.outcome.hops) <= 1

    def put_known(self, call: Call, request: Any, answer: Any, kind: Any) -> bool:
        """Write what a kept answer has cost others today, as far as that depends on it alone."""
        outcome = call.outcome
        known = None if outcome.given is None else outcome.given.costs.get(kind)
        if known is None or not (known[1] or is_all_text(request)):
            return False
        if known[0] != self._registry.edition():
            return False
        answer.cost.CopyFrom(known[2])
        outcome.cost_nano_usd = 0
        return True

    def put_spent(self, call: Call, request: Any, error: BaseException) -> None:
        """Say what an execution cost that fails, is cancelled or left before its end."""
        outcome = call.outcome
        if outcome.cost_nano_usd is not None or not outcome.pays:
            return
        failure = error.failure if isinstance(error, ServiceError) else None
        told = failure is not None and failure.HasField("usage")
        usage = failure.usage if failure is not None and told else used_so_far(outcome)
        if usage is None:
            return
        attempts = outcome.attempts
        cost = self.price(attempts[-1].model if attempts else request.model, usage)
        if cost is not None:
            outcome.spent, outcome.cost_nano_usd = cost, cost.cost_nano_usd
            if isinstance(error, ServiceError):
                if error.failure is None:
                    error.failure = ExecutionFailure()
                error.failure.cost.CopyFrom(cost)

    def _known_saving(
        self, call: Call, request: Any, usage: Usage, bought: _Bought, told: AnswerFacts
    ) -> Cost | None:
        """Return what a kept answer costs whose usage leaves nothing out; None to look closer."""
        if call.outcome.pays or told.kinds or not leaves_nothing_out(usage, request):
            return None
        return _saved(self._price_again(bought, usage))

    def _cost(
        self, call: Call, request: Any, answer: Any, bought: _Bought, told: AnswerFacts
    ) -> Cost | None:
        """Return what an answer costs; where its usage is estimated in part, that says so."""
        usage: Usage = answer.usage
        entry, outcome = self._entry(bought.version), call.outcome
        found = made = None
        if entry is not None:
            now = self._registry.now()
            found = price_at(entry, now, max(0, usage.prompt_token_count), bought.tier)
            made = None if found is None else filled(usage, request, told, entry, found[0])
            if made is not None:
                found = price_at(entry, now, max(0, made.prompt_token_count), bought.tier)
        _put_quality(answer, estimated=made is not None)
        if made is None and len(outcome.hops) > 1:
            return self._of_hops(call, request, bought.searches)
        if entry is None or found is None:
            return None
        cost = cost_by(entry, usage if made is None else made, found, searches=bought.searches)
        return cost if outcome.pays else _saved(cost)

    def _entry(self, version: str) -> CatalogueEntry | None:
        return self._registry.catalogue.billed(version)

    def _of_hops(self, call: Call, request: Any, searches: int) -> Cost | None:
        """Return what all hops cost; searches, told of the whole answer, count with the last.

        None where the price of one of them is not known.
        """
        total = Cost()
        for place, hop in enumerate(call.outcome.hops, 1):
            cost = self._of_hop(hop, request, searches if place == len(call.outcome.hops) else 0)
            if cost is None:
                return None
            add_cost(total, cost)
        return total if call.outcome.pays else _saved(total)

    def _of_hop(self, hop: Hop, request: Any, searches: int) -> Cost | None:
        """Return what a hop costs; one that reported nothing is priced by its prompt."""
        entry, tier = self._entry(hop.version), cast("Tier", hop.tier)
        if entry is None:
            return None
        usage = hop.usage
        if usage is None:
            found = price_at(entry, hop.ended, 0, tier)
            usage = found and filled(Usage(), request, AnswerFacts(), entry, found[0])
        return cost_of(entry, usage or Usage(), hop.ended, tier=tier, searches=searches)

    def _price_again(self, bought: _Bought, usage: Usage) -> Cost | None:
        """Return the price of what was bought before; the same answers are given many times."""
        today = self._registry.now().date()
        if today != self._day or len(self._prices) >= _REMEMBERED:
            self._day = today
            self._prices.clear()
        key = (bought, usage.SerializeToString())
        if key not in self._prices:
            self._prices[key] = self._price(bought, usage)
        return self._prices[key]

    def _price(self, bought: _Bought, usage: Usage) -> Cost | None:
        entry = self._entry(bought.version)
        if entry is None:
            return None
        now = self._registry.now()
        return cost_of(entry, usage, now, tier=bought.tier, searches=bought.searches)

    def __repr__(self) -> str:
        """Name the policy."""
        return "Pricing()"


class _Priced(Watch):
    """Looks at what one answer's price depends on, and has it put in."""

    __slots__ = ("_call", "_pricing", "_request", "_told")

    def __init__(self, pricing: Pricing, call: Call, request: Any) -> None:
        self._pricing = pricing
        self._call = call
        self._request = request
        self._told = AnswerFacts()

    def first(self, event: Any, /) -> None:
        if event.HasField("started"):
            self._pricing.begun(self._call, event.started, self._told)

    def event(self, event: Any, delta: Delta | None, /) -> None:
        if delta is not None:
            self._told.take(delta)
        elif event.HasField("completed"):
            done = event.completed
            self._pricing.learn(self._call, done)
            self._pricing.put_cost(self._call, self._request, done, done, self._told)

    def answer(self, response: Any, /) -> None:
        pricing, call, started, told = self._pricing, self._call, response.started, self._told
        if call.outcome.given is not None and pricing.put_known(
            call, self._request, response, type(started)
        ):
            return
        if pricing.has_no_price(call, started.model_version or self._request.model):
            _put_quality(response, estimated=False)
            return
        pricing.begun(call, started, told)
        told.take_whole(response)
        pricing.put_cost(call, self._request, response, started, told)

    def end(self, error: BaseException | None, /) -> None:
        if error is not None:
            self._pricing.put_spent(self._call, self._request, error)


def _put_quality(answer: Any, *, estimated: bool) -> None:
    """Say of a usage that it is estimated, where it is, or where there is none."""
    if estimated or not answer.HasField("usage"):
        answer.usage.quality = max(answer.usage.quality, _ESTIMATED)


def _saved(cost: Cost | None) -> Cost | None:
    """Return the cost of what another call paid for."""
    if cost is None:
        return None
    return Cost(saved_nano_usd=cost.cost_nano_usd, priced_model=cost.priced_model)


def tier_of(usage: Usage, served: Started | Completed | None = None) -> Tier:
    """Return at which terms an answer was served.

    By what it says of itself, which has it from a header, else by the usage's tier, else by a kind
    of traffic such as X_FLEX. What nobody knows, and what has no price known, is the standard one.
    """
    number, named = 0, ""
    if served is not None:
        number, named = served.served_service_tier, served.served_service_tier_raw
    if not (number or named):
        number, named = usage.service_tier, usage.service_tier_raw
    if not (number or named):
        kind = usage.traffic_type
        named = TrafficType.Name(kind) if kind else usage.traffic_type_raw
    if not (number or named):
        return "standard"
    if number:
        named = _TIER_NAMES.get(number, "")
    tier = named.lower().rpartition("_")[2]
    return cast("Tier", tier) if tier in _TIERS else "standard"
