"""What caching, sharing and resuming did since the process started, counted where it happens."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini.backend.v1.content_pb2 import Usage


def _unknown(_model: str, _usage: Usage) -> int:
    """Know no price."""
    return 0


@dataclass(slots=True)
class SavedTokens:
    """Tokens that did not have to be bought, by kind; `cached` is part of `prompt`."""

    prompt: int = 0
    cached: int = 0
    candidates: int = 0
    thoughts: int = 0
    tool_use: int = 0

    def add(self, usage: Usage) -> None:
        """Count what one answer would have used."""
        self.prompt += usage.prompt_token_count
        self.cached += usage.cached_content_token_count
        self.candidates += usage.candidates_token_count
        self.thoughts += usage.thoughts_token_count
        self.tool_use += usage.tool_use_prompt_token_count

    @property
    def total(self) -> int:
        """All together; cached ones are counted once."""
        return self.prompt + self.candidates + self.thoughts + self.tool_use


@dataclass(slots=True)
class CacheCounts:
    """Counters that only grow; whoever does the thing counts it.

    `hits` are fresh ones and `stale_hits` stand beside them; a stale hit was a miss before, unless
    the cache was not to be asked first (REFRESH).
    `evictions` went for want of room, `expirations` because their time was up, and `refusals` are
    answers too large to be kept at all. `resumed` and `detached` count streams taken up again and
    executions that outlived their connection.
    """

    hits: int = 0
    misses: int = 0
    stale_hits: int = 0
    bypasses: int = 0
    stores: int = 0
    evictions: int = 0
    expirations: int = 0
    refusals: int = 0
    coalesced: int = 0
    resumed: int = 0
    detached: int = 0
    saved: SavedTokens = field(default_factory=SavedTokens)
    saved_nano_usd: int = 0
    price: Callable[[str, Usage], int] = _unknown

    def save(self, model: str, usage: Usage) -> None:
        """Count the tokens of an answer that did not have to be bought, and their price."""
        self.saved.add(usage)
        self.saved_nano_usd += self.price(model, usage)

    @property
    def hit_ratio(self) -> float:
        """Hits among the look-ups, 0 to 1; 0 without any."""
        asked = self.hits + self.misses
        return self.hits / asked if asked else 0.0
