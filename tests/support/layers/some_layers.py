"""Some of the layers in their order, in front of an upstream that plays what a test says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from gemini_backend.policies.pipeline import Pipeline
from tests.support.layers.every_layer import NAMES, World
from tests.support.layers.inproc import collect
from tests.support.messages.calls import make_call

if TYPE_CHECKING:
    from gemini_backend.call import Call
    from tests.support.clock import FakeClock


class SomeLayers:
    """The layers of these names, outermost first as in the chain."""

    def __init__(self, clock: FakeClock, names: set[str], upstream: Any, request: Any) -> None:
        """Wrap `upstream`, which counts what is `open`; `request()` makes what is asked."""
        self.clock = clock
        self.world = World(clock)
        self.pipeline = Pipeline(*(self.world.layer(name) for name in NAMES if name in names))
        self.upstream = upstream
        self._request = request

    def call(self, name: str) -> Call:
        return replace(make_call(self.clock, deadline=120), execution=name)

    async def stream(self, name: str = "e1") -> list[Any]:
        run = self.pipeline.stream(self.upstream.stream)
        return await collect(run(self.call(name), self._request()))

    async def whole(self, name: str = "e1") -> Any:
        return await self.pipeline.unary(self.upstream.unary)(self.call(name), self._request())

    def at_rest(self) -> bool:
        """Whether nothing is held and nothing runs."""
        return (self.world.left_behind(), self.upstream.open) == ([], 0)
