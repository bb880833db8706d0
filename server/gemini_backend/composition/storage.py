"""What is kept: answers, sessions, and the counts of what keeping saved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gemini_backend.processing.workers.embedder import Embedder
from gemini_backend.sizes import MIB
from gemini_backend.stores.memory_answers import MemoryAnswers
from gemini_backend.stores.session_service import SessionKeeper
from gemini_backend.telemetry.metrics.cache_counts import CacheCounts

if TYPE_CHECKING:
    from gemini_backend.composition.foundation import Foundation
    from gemini_backend.composition.model_access import ModelAccess
    from gemini_backend.composition.observation import Observation


@dataclass(frozen=True, slots=True)
class Storage:
    """The stores; none is opened until it is used."""

    counts: CacheCounts
    answers: MemoryAnswers
    sessions: SessionKeeper
    embedder: Embedder

    async def aclose(self) -> None:
        """Write what is still to be written, and close every store."""
        await self.sessions.aclose()
        await self.embedder.aclose()


def storage(foundation: Foundation, access: ModelAccess, observed: Observation) -> Storage:
    """Return the stores that the configuration names."""
    store, clock = foundation.store, foundation.clock
    cache = store.current.cache
    counts = CacheCounts(price=access.pricing.saved)
    return Storage(
        counts=counts,
        answers=MemoryAnswers(cache.max_entries, cache.max_size_mb * MIB, clock.now, counts),
        sessions=SessionKeeper(
            lambda: store.current, observed.metrics.sessions, clock=clock, wall=foundation.wall
        ),
        embedder=Embedder(clock),
    )
