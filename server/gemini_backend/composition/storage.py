"""What is kept: answers and sessions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gemini_backend.processing.workers.embedder import Embedder
from gemini_backend.sizes import MIB
from gemini_backend.stores.memory_answers import MemoryAnswers
from gemini_backend.stores.session_service import SessionStorage

if TYPE_CHECKING:
    from gemini_backend.composition.foundation import Foundation


@dataclass(frozen=True, slots=True)
class Storage:
    """The stores; none is opened until it is used."""

    answers: MemoryAnswers
    sessions: SessionStorage
    embedder: Embedder

    async def aclose(self) -> None:
        """Write what is still to be written, and close every store."""
        await self.sessions.aclose()
        await self.embedder.aclose()


def storage(foundation: Foundation) -> Storage:
    """Return the stores that the configuration names."""
    store, clock = foundation.store, foundation.clock
    cache = store.current.cache
    return Storage(
        answers=MemoryAnswers(cache.max_entries, cache.max_size_mb * MIB, clock.now),
        sessions=SessionStorage(
            lambda: store.current, foundation.bus, clock=clock, wall=foundation.wall
        ),
        embedder=Embedder(clock),
    )
