"""What a usage costs: whole numbers of 10^-9 US dollars, rounded up once a kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini.backend.v1 import content_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from gemini_backend.models.catalogue_schema import CatalogueEntry, Medium, Price, Tier
    from gemini_backend.models.requirements import Requirements

_MILLION = 1_000_000
# What a tier costs where it has no prices of its own, in percent of the standard one.
_PERCENT: dict[Tier, int] = {"standard": 100, "batch": 50, "flex": 50, "priority": 180}
_MEDIA: dict[str, Medium] = {
    "TEXT": "text",
    "IMAGE": "image",
    "AUDIO": "audio",
    "VIDEO": "video",
    "DOCUMENT": "document",
}
_BY_NUMBER: dict[int, Medium] = {
    number: _MEDIA[value.name.removeprefix("MODALITY_")]
    for number, value in pb.Modality.DESCRIPTOR.values_by_number.items()
    if value.name.removeprefix("MODALITY_") in _MEDIA
}


def price_at(
    entry: CatalogueEntry, at: datetime, prompt_tokens: int, tier: Tier
) -> tuple[Price, int] | None:
    """Return the price that holds, and its percentage; None where none is known.

    Of several sizes of prompt the largest that is exceeded counts, for all tokens of the request.
    """
    for wanted, percent in ((tier, 100), ("standard", _PERCENT[tier])):
        found = [
            price
            for price in entry.prices
            if price.tier == wanted
            and price.holds(at)
            and (prompt_tokens > price.above_prompt_tokens or not price.above_prompt_tokens)
        ]
        if found:
            return max(found, key=lambda price: price.above_prompt_tokens), percent
    return None


def cost_of(
    entry: CatalogueEntry,
    usage: pb.Usage,
    at: datetime,
    *,
    tier: Tier = "standard",
    searches: int = 0,
) -> pb.Cost | None:
    """Return what a usage costs by a model's prices at a moment; None where none is known.

    The prompt's count holds the cached tokens, which are priced once, at their own rate. Thoughts
    are priced as output; the results of server-side tools as input. No part is ever below 0: a
    count below 0 counts as 0, and no more tokens are priced than there are in all, by whatever
    kinds they come; the dearest kinds come first, and the rest is text.
    """
    found = price_at(entry, at, max(0, usage.prompt_token_count), tier)
    return None if found is None else cost_by(entry, usage, found, searches=searches)


def cost_by(
    entry: CatalogueEntry, usage: pb.Usage, found: tuple[Price, int], *, searches: int = 0
) -> pb.Cost:
    """Return what a usage costs by a price, and a percentage, that `price_at` has found."""
    price, percent = found
    prompt = max(0, usage.prompt_token_count)
    cached_rate = price.input if price.cached_input is None else price.cached_input
    rates_in = _Rates(price.input, price.input_by_medium)
    rates_cached = _Rates(cached_rate, price.cached_input_by_medium)
    rates_out = _Rates(price.output, price.output_by_medium)

    cached_count = min(max(0, usage.cached_content_token_count), prompt)
    cached = rates_cached.by_medium(usage.cache_tokens_details, cached_count)
    fresh = rates_in.by_medium(usage.prompt_tokens_details, prompt)
    if cached_count:
        for medium, tokens in cached.items():
            fresh[medium] = max(0, fresh.get(medium, 0) - tokens)
        fresh = rates_in.fitted(fresh, prompt - cached_count)
    tools = max(0, usage.tool_use_prompt_token_count)
    used = rates_in.by_medium(usage.tool_use_prompt_tokens_details, tools)
    out = rates_out.by_medium(usage.candidates_tokens_details, max(0, usage.candidates_token_count))
    costs = (
        _rounded_up((rates_in.sum(fresh) + rates_in.sum(used)) * percent),
        _rounded_up(rates_cached.sum(cached) * percent),
        _rounded_up(rates_out.sum(out) * percent),
        _rounded_up(max(0, usage.thoughts_token_count) * price.output * percent),
        _searches(price, max(0, searches)),
    )
    return pb.Cost(
        cost_nano_usd=sum(costs),
        input_nano_usd=costs[0],
        cached_input_nano_usd=costs[1],
        output_nano_usd=costs[2],
        thoughts_nano_usd=costs[3],
        grounding_nano_usd=costs[4],
        priced_model=f"models/{entry.name}",
    )


def _searches(price: Price, count: int) -> int:
    each, once = price.grounded_search, price.grounded_prompt
    return -(-(count * each + bool(count) * once) // _MILLION)


def medium_of(one: pb.ModalityTokenCount) -> Medium:
    """Return the kind of medium of a count, however it is spelt; what nobody knows is text."""
    known = _BY_NUMBER.get(one.modality)
    return known or _MEDIA.get(one.modality_raw.upper().removeprefix("MODALITY_"), "text")


def estimate(
    entry: CatalogueEntry, needs: Requirements, at: datetime, thoughts: int = 0
) -> int | None:
    """Return the most that a request of such a size would cost; None where no price is known.

    The whole prompt counts as the dearest of its media, an answer that has to hold a picture,
    sound or video as nothing but that. Thoughts are added to the answer, and one search where the
    answer has to be grounded in one. What a context cache saves is left out.
    """
    usage = pb.Usage(
        prompt_token_count=needs.input_tokens,
        candidates_token_count=needs.output_tokens,
        thoughts_token_count=thoughts,
    )
    found = price_at(entry, at, needs.input_tokens, "standard")
    if found is None:
        return None
    rates = found[0].input_by_medium
    usage.prompt_tokens_details.append(
        _dearest(needs.media, rates, found[0].input, needs.input_tokens)
    )
    rates = found[0].output_by_medium
    usage.candidates_tokens_details.append(
        _dearest(needs.answers, rates, found[0].output, needs.output_tokens)
    )
    searches = 1 if "search_grounding" in needs.capabilities else 0
    cost = cost_of(entry, usage, at, searches=searches)
    return None if cost is None else cost.cost_nano_usd


def _dearest(
    media: tuple[Medium, ...], rates: Mapping[Medium, int], rate: int, tokens: int
) -> pb.ModalityTokenCount:
    medium = max(media or ("text",), key=lambda one: rates.get(one, rate))
    kind = pb.Modality.Value(f"MODALITY_{medium.upper()}")
    return pb.ModalityTokenCount(modality=kind, token_count=tokens)


class _Rates:
    """What a million tokens cost, by kind of medium where they have rates of their own."""

    __slots__ = ("_by_medium", "_rate")

    def __init__(self, rate: int, by_medium: Mapping[Medium, int]) -> None:
        self._rate = rate
        self._by_medium = by_medium

    def by_medium(self, details: Iterable[pb.ModalityTokenCount], total: int) -> dict[Medium, int]:
        """Return the tokens of each medium, `total` in all."""
        if not self._by_medium:  # all cost the same
            return {"text": total}
        found: dict[Medium, int] = {}
        for one in details:
            medium = medium_of(one)
            found[medium] = found.get(medium, 0) + max(0, one.token_count)
        return self.fitted(found, total) if found else {"text": total}

    def fitted(self, tokens: Mapping[Medium, int], total: int) -> dict[Medium, int]:
        """Return as many tokens as there are in all: the dearest first, the rest is text."""
        fitted: dict[Medium, int] = {}
        left = total
        for medium in sorted(tokens, key=lambda one: -self._by_medium.get(one, self._rate)):
            if medium != "text":
                fitted[medium] = min(tokens[medium], left)
                left -= fitted[medium]
        fitted["text"] = left
        return fitted

    def sum(self, tokens: Mapping[Medium, int]) -> int:
        return sum(self._by_medium.get(one, self._rate) * many for one, many in tokens.items())


def _rounded_up(percents_of_millions: int) -> int:
    return -(-percents_of_millions // (100 * _MILLION))
