"""What a usage costs: whole numbers of 10^-9 US dollars, rounded up once a kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini.backend.v1 import content_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from gemini_backend.models.entries import Entry, Medium, Price, Tier
    from gemini_backend.models.needs import Needs

_MILLION = 1_000_000
# What a tier costs where it has no prices of its own, in percent of the standard one.
_PERCENT: dict[Tier, int] = {"standard": 100, "batch": 50, "flex": 50, "priority": 180}
_MEDIA: dict[int, Medium] = {
    pb.MODALITY_TEXT: "text",
    pb.MODALITY_IMAGE: "image",
    pb.MODALITY_AUDIO: "audio",
    pb.MODALITY_VIDEO: "video",
    pb.MODALITY_DOCUMENT: "document",
}


def price_at(
    entry: Entry, at: datetime, prompt_tokens: int, tier: Tier
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
    entry: Entry, usage: pb.Usage, at: datetime, *, tier: Tier = "standard", searches: int = 0
) -> pb.Cost | None:
    """Return what a usage costs by a model's prices at a moment; None where none is known.

    The prompt's count holds the cached tokens, which are priced once, at their own rate. Thoughts
    are priced as output; the results of server-side tools as input.
    """
    found = price_at(entry, at, usage.prompt_token_count, tier)
    if found is None:
        return None
    price, percent = found
    fresh, cached, out = _by_kind(usage)
    rate = price.input if price.cached_input is None else price.cached_input
    costs = (
        _sum(fresh, price.input, price.input_by_medium, percent),
        _sum(cached, rate, price.cached_input_by_medium, percent),
        _sum(out, price.output, price.output_by_medium, percent),
        _rounded_up(usage.thoughts_token_count * price.output * percent),
        -(-(searches * price.grounded_search + bool(searches) * price.grounded_prompt) // _MILLION),
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


def estimate(entry: Entry, needs: Needs, at: datetime, thoughts: int = 0) -> int | None:
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


def _by_kind(usage: pb.Usage) -> tuple[dict[Medium, int], dict[Medium, int], dict[Medium, int]]:
    """Return fresh input, cached input and output, each by medium."""
    prompt = usage.prompt_token_count
    cached = min(usage.cached_content_token_count, prompt)
    cached_by = _by_medium(usage.cache_tokens_details, cached)
    fresh_by = _by_medium(usage.prompt_tokens_details, prompt)
    for medium, tokens in cached_by.items():
        fresh_by[medium] = max(0, fresh_by.get(medium, 0) - tokens)
    # what the details leave out, or count twice, belongs to text
    fresh_by["text"] = prompt - cached - _others(fresh_by) + usage.tool_use_prompt_token_count
    return (
        fresh_by,
        cached_by,
        _by_medium(usage.candidates_tokens_details, usage.candidates_token_count),
    )


def _dearest(
    media: tuple[Medium, ...], rates: Mapping[Medium, int], rate: int, tokens: int
) -> pb.ModalityTokenCount:
    medium = max(media or ("text",), key=lambda one: rates.get(one, rate))
    kind = pb.Modality.Value(f"MODALITY_{medium.upper()}")
    return pb.ModalityTokenCount(modality=kind, token_count=tokens)


def _by_medium(details: Iterable[pb.ModalityTokenCount], total: int) -> dict[Medium, int]:
    """Return the tokens of each medium; all are text where nothing else is said."""
    found: dict[Medium, int] = {}
    for one in details:
        medium = _MEDIA.get(one.modality, "text")
        if medium != "text":
            found[medium] = found.get(medium, 0) + one.token_count
    found["text"] = max(0, total - sum(found.values())) if found else total
    return found


def _others(by_medium: Mapping[Medium, int]) -> int:
    return sum(by_medium.values()) - by_medium["text"] if len(by_medium) > 1 else 0


def _sum(
    tokens: Mapping[Medium, int], rate: int, by_medium: Mapping[Medium, int], percent: int
) -> int:
    if len(tokens) == 1 and not by_medium:
        return _rounded_up(tokens["text"] * rate * percent)
    total = sum(count * by_medium.get(one, rate) for one, count in tokens.items() if count > 0)
    return _rounded_up(total * percent)


def _rounded_up(percents_of_millions: int) -> int:
    return -(-percents_of_millions // (100 * _MILLION))
