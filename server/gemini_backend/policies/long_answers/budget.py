"""How many tokens a long answer may still have: `max_output_tokens` spans all of its hops."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gemini_backend.processing.tokens.rules_of_thumb import typical_tokens

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gemini.backend.v1.content_pb2 import Part, Usage


class TokenBudget:
    """The caller's own limit, given out hop by hop.

    A hop gets what is left, at most what the model gives in one request. What it used is what
    Gemini counted, thoughts included; where it counted nothing, a token for four `characters`.
    """

    __slots__ = ("_of_one_hop", "characters", "left", "sent")

    @property
    def cut_down(self) -> bool:
        """Whether the hop under way was asked for less than is left."""
        return self.sent < self.left

    def __init__(self, most: int, of_one_hop: int) -> None:
        """Have `most` tokens; `of_one_hop` is the model's limit for one request, 0 for none."""
        self.left = most
        self._of_one_hop = of_one_hop
        self.characters = 0
        self.sent = self._next()

    def saw(self, parts: Iterable[Part]) -> None:
        """Take note of a piece of the hop under way."""
        self.characters += sum(len(part.text) for part in parts)

    def spend(self, usage: Usage | None) -> None:
        """Take off what a hop used that has come to its end."""
        used = 0
        if usage is not None:
            used = max(0, usage.candidates_token_count) + max(0, usage.thoughts_token_count)
        self.left -= used or typical_tokens(self.characters)
        self.characters = 0
        self.sent = self._next()

    def _next(self) -> int:
        return min(self.left, self._of_one_hop) if self._of_one_hop else self.left


def budget_of(request: Any, limits: tuple[int, int]) -> TokenBudget | None:
    """Return the budget of a request; None where it sets no limit of its own.

    Args:
        request: What the caller asks.
        limits: Most output tokens of one request to the model, and of all hops; 0 if not known.
    """
    config = request.generation_config
    if not config.HasField("max_output_tokens"):
        return None
    of_one_hop, in_all = limits
    most: int = config.max_output_tokens
    # a model without long decode judges by itself what is too much for it
    return TokenBudget(most, of_one_hop if of_one_hop < in_all else 0)
