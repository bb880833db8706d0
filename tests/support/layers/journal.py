"""A journal round an upstream, and callers who lose their connection to it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.config.sections.answers import JournalOptions
from gemini_backend.policies.outcome.execution_events import ExecutionEvents
from gemini_backend.policies.pipeline import Pipeline
from gemini_backend.policies.sharing.journal import Journal
from gemini_backend.principal import Principal
from gemini_backend.telemetry.metrics.listeners.cache_counts import CacheCounts
from tests.support.layers.inproc import collect
from tests.support.layers.recorder import Recorder
from tests.support.messages.calls import completed, delta, started
from tests.support.messages.events import heard_by
from tests.support.upstreams.counting_upstream import Upstream, ask, caller, ended

if TYPE_CHECKING:
    from tests.support.clock import FakeClock

SLOW = (started(), *(step for n in range(8) for step in (delta(str(n), n + 1), 1)), completed(9))
KEEP = pb.OnDisconnect(mode=pb.DISCONNECT_MODE_KEEP)
DRAIN = pb.OnDisconnect(mode=pb.DISCONNECT_MODE_DRAIN)


class Kept:
    """A journal round the numbering round an upstream."""

    def __init__(
        self, clock: FakeClock, *steps: Any, inside: tuple[Any, ...] = (), **options: Any
    ) -> None:
        self.clock = clock
        self.options = JournalOptions(**options)
        self.counts = CacheCounts()
        self.heard = Recorder(heard_by(self.counts))
        self.upstream = Upstream(clock, *steps)
        self.journal = Journal(lambda: self.options, clock, self.heard.bus)
        progress = ExecutionEvents(clock, self.heard.bus)
        self.pipeline = Pipeline(self.journal, progress, *inside)

    def set(self, **options: Any) -> None:
        self.options = msgspec.structs.replace(self.options, **options)

    def open(self, name: str = "e1", how: Any = None, tenant: str = "default") -> Any:
        call = caller(self.clock, name)
        call = replace(call, principal=Principal(tenant=tenant))
        return self.pipeline.stream(self.upstream.stream)(call, ask(on_disconnect=how))

    def resume(self, after: int, name: str = "e1", tenant: str = "default") -> Any:
        call = caller(self.clock, "another")
        call = replace(call, principal=Principal(tenant=tenant))
        self.call = call
        request = pb.ExecuteRequest(resume=pb.Resume(execution=name, after_sequence=after))
        return self.pipeline.stream(self.upstream.stream)(call, request)


def numbers(events: list[Any]) -> list[int]:
    return [event.sequence for event in events]


async def take(clock: FakeClock, events: Any, count: int) -> list[Any]:
    """Read so many events, moving the clock as needed."""
    return [await ended(clock, asyncio.ensure_future(anext(events))) for _ in range(count)]


async def lose(clock: FakeClock, kept: Kept, count: int, how: Any = None) -> list[Any]:
    """Read so many events of an execution, then lose the connection."""
    events = kept.open(how=how)
    seen = await take(clock, events, count)
    await events.aclose()
    return seen


async def rest(clock: FakeClock, events: Any) -> list[Any]:
    """Read to the end."""
    return await ended(clock, asyncio.ensure_future(collect(events)))  # type: ignore[no-any-return]
