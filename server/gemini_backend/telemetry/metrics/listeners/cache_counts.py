"""What caching, sharing and resuming did since the process started."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gemini_backend.telemetry.events import (
    AnswerReused,
    CacheLookedUp,
    ExecutionCoalesced,
    ExecutionDetached,
    StreamResumed,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini.backend.v1.content_pb2 import Usage
    from gemini_backend.telemetry.events import Bus


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
class Lookups:
    """What one cache had for those who asked, by result, and what that saved.

    A stale hit was a miss before, unless the cache was not to be asked first (REFRESH).
    """

    results: Counter[str] = field(default_factory=Counter)
    saved: SavedTokens = field(default_factory=SavedTokens)
    saved_nano_usd: int = 0

    @property
    def hit_ratio(self) -> float:
        """Hits among the look-ups, 0 to 1; 0 without any."""
        asked = self.results["hit"] + self.results["miss"]
        return self.results["hit"] / asked if asked else 0.0


class CacheCounts:
    """Counters that only grow: look-ups by cache, and executions that shared, resumed, outlived."""

    def __init__(self, price: Callable[[str, Usage], int] = _unknown) -> None:
        """Begin at nothing; `price` is what an answer would have cost, in 10^-9 US dollars."""
        self.exact = Lookups()
        self.semantic = Lookups()
        self.coalesced = 0
        self.resumed = 0
        self.detached = 0
        self._price = price

    def listen(self, bus: Bus) -> None:
        """Count what is published from now on."""
        bus.subscribe(CacheLookedUp, self._looked_up)
        bus.subscribe(AnswerReused, self._reused)
        bus.subscribe(ExecutionCoalesced, self._shared)
        bus.subscribe(StreamResumed, self._taken_up)
        bus.subscribe(ExecutionDetached, self._outlived)

    def _of(self, cache: str) -> Lookups:
        return self.exact if cache == "exact" else self.semantic

    def _looked_up(self, event: CacheLookedUp) -> None:
        self._of(event.cache).results[event.result] += 1

    def _reused(self, event: AnswerReused) -> None:
        lookups = self._of(event.cache)
        lookups.saved.add(event.usage)
        lookups.saved_nano_usd += self._price(event.served_model, event.usage)

    def _shared(self, _event: ExecutionCoalesced) -> None:
        self.coalesced += 1

    def _taken_up(self, _event: StreamResumed) -> None:
        self.resumed += 1

    def _outlived(self, _event: ExecutionDetached) -> None:
        self.detached += 1
