"""How much the simulated model thinks, and what it lets be seen of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gemini_backend.upstream.simulator.tokens import count
from gemini_backend.upstream.simulator.wire import shorten

if TYPE_CHECKING:
    from gemini_backend.upstream.simulator.requests import Ask

_BY_LEVEL = {"MINIMAL": 0, "LOW": 24, "MEDIUM": 48, "HIGH": 96, "XHIGH": 192}
_DYNAMIC = 48


@dataclass(frozen=True, slots=True)
class Thoughts:
    """What is thought before the answer.

    Attributes:
        tokens: How many tokens it takes, seen or not.
        texts: The summaries that are sent, none unless they were asked for.
    """

    tokens: int
    texts: tuple[str, ...]


def thoughts(ask: Ask) -> Thoughts:
    """The thoughts on ``ask``: at most half of its output limit, so that an answer can follow."""
    if not ask.model.thinks or not ask.hop.first:
        return Thoughts(0, ())
    limit = ask.config.get("maxOutputTokens", ask.model.output_limit)
    wanted = min(_wanted(ask), limit // 2)
    if not wanted:
        return Thoughts(0, ())
    topic = shorten(ask.question(), 80) or "the request"
    texts = (
        f"**Reading the request**\n\nThe question is: {topic}\n\n\n",
        "**Planning the answer**\n\nA short and direct answer serves best here.\n\n\n",
    )
    if not ask.thinking.get("includeThoughts"):
        return Thoughts(wanted, ())
    return Thoughts(max(wanted, 2), texts)


def _wanted(ask: Ask) -> int:
    budget = ask.thinking.get("thinkingBudget")
    varied = ask.seed[0] % 16
    if budget is None:
        level = ask.thinking.get("thinkingLevel")
        if not ask.model.levels:
            return _DYNAMIC + varied
        base = _BY_LEVEL[level if level in _BY_LEVEL else ask.model.default_level]
        return base + varied if base else 0
    if budget == 0:
        return 0
    wanted = _DYNAMIC + varied + count(ask.question()) // 4
    return wanted if budget < 0 else min(wanted, budget)
