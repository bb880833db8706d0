"""What is kept: answers, sessions, and what executions have come to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gemini_backend.api.requests.status import whole_status_of
from gemini_backend.api.requests.unexpected import service_error_of
from gemini_backend.identity.api_keys import ApiKeys, open_keys
from gemini_backend.policies.executions import ExecutionRegister, Remembered
from gemini_backend.processing.workers.embedder import Embedder
from gemini_backend.sizes import MIB
from gemini_backend.stores.memory_answers import MemoryAnswers
from gemini_backend.stores.session_service import SessionStorage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from google.rpc.status_pb2 import Status

    from gemini_backend.call import Call
    from gemini_backend.composition.foundation import Foundation
    from gemini_backend.config import Config
    from gemini_backend.config.sections.execution import ExecutionOptions
    from gemini_backend.errors import ServiceError
    from gemini_backend.telemetry.health.health_report import Component


@dataclass(frozen=True, slots=True)
class Storage:
    """The stores; none is opened until it is used."""

    answers: MemoryAnswers
    sessions: SessionStorage
    embedder: Embedder
    executions: ExecutionRegister
    api_keys: ApiKeys

    def components(self, config: Config) -> Iterator[Callable[[], Component]]:
        """Yield what says how each store is that health reports."""
        yield self.sessions.component
        if "api_key" in config.auth.methods:
            yield self.api_keys.component

    async def aclose(self) -> None:
        """Write what is still to be written, and close every store."""
        self.executions.clear()
        await self.sessions.aclose()
        await self.api_keys.aclose()
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
        executions=register_of(foundation),
        api_keys=api_keys_of(foundation),
    )


def api_keys_of(foundation: Foundation) -> ApiKeys:
    """Return the API keys of callers."""
    clock, bus = foundation.clock, foundation.bus
    kept = open_keys(foundation.config.state.dir, foundation.keyring, clock=clock, bus=bus)
    return ApiKeys(kept, clock=clock, wall=foundation.wall, bus=bus)


def register_of(foundation: Foundation) -> ExecutionRegister:
    """Return what knows executions by their names."""
    store, clock = foundation.store, foundation.clock

    def options() -> ExecutionOptions:
        return store.current.execution

    def describe(call: Call, error: Exception) -> tuple[ServiceError, Status]:
        known = service_error_of(call, error)
        return known, whole_status_of(known)

    return ExecutionRegister(
        options, Remembered(options, clock), describe, clock=clock, wall=foundation.wall
    )
