"""What recorded answers cost, worked out apart from the server: from Gemini's JSON, in decimals.

Dollars for a million tokens, as Google's price list has them; for searches dollars for each.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Any


@dataclass(frozen=True)
class Rates:
    """Input, output, cached input; sound where it has rates of its own; searches."""

    input: str
    output: str
    cached: str
    sound: str = ""
    cached_sound: str = ""
    search: str = "0"
    once: bool = False


_LARGE_25_PRO = Rates("2.5", "15", "0.25", search="0.035", once=True)
RATES = {
    "gemini-1.5-flash": Rates("0.075", "0.3", "0.01875"),
    "gemini-2.0-flash": Rates("0.1", "0.4", "0.025", "0.7", "0.175"),
    "gemini-2.0-flash-exp": Rates("0", "0", "0"),
    "gemini-2.5-flash": Rates("0.3", "2.5", "0.03", "1", "0.1", "0.035", once=True),
    "gemini-2.5-flash-lite": Rates("0.1", "0.4", "0.01", "0.3", "0.03", "0.035", once=True),
    "gemini-2.5-pro": Rates("1.25", "10", "0.125", search="0.035", once=True),
    "gemini-3-flash-preview": Rates("0.5", "3", "0.05", "1", "0.1", "0.014"),
    "gemini-3-pro-preview": Rates("2", "12", "0.2", search="0.014"),
    "gemini-3.1-flash-lite": Rates("0.25", "1.5", "0.025", "0.5", "0.05", "0.014"),
    "gemini-3.5-flash": Rates("1.5", "9", "0.15", search="0.014"),
    "gemini-3.6-flash": Rates("0.75", "3.75", "0.075", search="0.014"),
}
SHARES = {"flex": Decimal("0.5"), "batch": Decimal("0.5"), "priority": Decimal("1.8")}


def bill(model: str, usage: dict[str, Any], searches: int = 0) -> dict[str, int]:
    """Return what a usage of a model costs, by kind, in 10^-9 dollars rounded up.

    Raises:
        KeyError: the model is none of `RATES`.
        ValueError: the prompt is of a size that has a price of its own.
    """
    rates = RATES[model.removeprefix("models/")]
    prompt, cached = usage.get("promptTokenCount", 0), usage.get("cachedContentTokenCount", 0)
    if prompt > 128_000:
        raise ValueError(prompt)
    sound = _sound(usage, "promptTokensDetails")
    cached_sound = _sound(usage, "cacheTokensDetails")
    text = prompt - cached - (sound - cached_sound) + usage.get("toolUsePromptTokenCount", 0)
    named = (usage.get("serviceTier") or usage.get("trafficType") or "").lower()
    share = SHARES.get(named.rpartition("_")[2], Decimal(1))
    asked = min(searches, 1) if rates.once else searches
    return {
        "input_nano_usd": _nano(
            share
            * (text * Decimal(rates.input) + (sound - cached_sound) * _of(rates.sound, rates.input))
        ),
        "cached_input_nano_usd": _nano(
            share
            * (
                (cached - cached_sound) * Decimal(rates.cached)
                + cached_sound * _of(rates.cached_sound, rates.cached)
            )
        ),
        "output_nano_usd": _nano(
            share * usage.get("candidatesTokenCount", 0) * Decimal(rates.output)
        ),
        "thoughts_nano_usd": _nano(
            share * usage.get("thoughtsTokenCount", 0) * Decimal(rates.output)
        ),
        "grounding_nano_usd": _nano(asked * Decimal(rates.search) * 1_000_000),
    }


def _of(own: str, other: str) -> Decimal:
    return Decimal(own or other)


def _sound(usage: dict[str, Any], details: str) -> int:
    return sum(
        int(one.get("tokenCount", 0))
        for one in usage.get(details, [])
        if one["modality"] == "AUDIO"
    )


def _nano(dollars_of_a_million: Decimal) -> int:
    """Return millionths of dollars a million as 10^-9 dollars: a dollar a million is 1,000 each."""
    return int((dollars_of_a_million * 1000).to_integral_value(ROUND_CEILING))
