"""Single flight round a scripted upstream."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from gemini_backend.config.sections.answers import CoalesceOptions
from gemini_backend.policies.pipeline import Pipeline
from gemini_backend.policies.sharing.single_flight import SingleFlight
from gemini_backend.telemetry.metrics.listeners.cache_counts import CacheCounts
from tests.support.layers.inproc import collect
from tests.support.messages.calls import completed, delta, started
from tests.support.messages.events import heard_by
from tests.support.upstreams.counting_upstream import Upstream, ask

if TYPE_CHECKING:
    from gemini_backend.call import Call
    from tests.support.clock import FakeClock

SLOW = (started(), delta("a"), 10, delta("b"), 10, completed())


class Sharing:
    """Coalescing round an upstream, with whatever else is to stand outside and inside."""

    def __init__(
        self,
        clock: FakeClock,
        *steps: Any,
        outside: tuple[Any, ...] = (),
        inside: tuple[Any, ...] = (),
        **options: Any,
    ) -> None:
        self.clock = clock
        self.counts = CacheCounts()
        self.upstream = Upstream(clock, *steps)
        self.options = CoalesceOptions(**options)
        self.bus = heard_by(self.counts)
        self.coalesce = SingleFlight(lambda: self.options, clock, self.bus)
        self.pipeline = Pipeline(*outside, self.coalesce, *inside)

    def open(self, call: Call, request: Any = None) -> Any:
        return self.pipeline.stream(self.upstream.stream)(call, request or ask())

    def read(self, call: Call, request: Any = None) -> asyncio.Task[list[Any]]:
        return asyncio.ensure_future(collect(self.open(call, request)))

    def whole(self, call: Call, request: Any = None) -> asyncio.Task[Any]:
        answer: Any = self.pipeline.unary(self.upstream.unary)(call, request or ask())
        return asyncio.ensure_future(answer)
