"""Calls that want slots, each running until it is told to end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.config.sections.flow import AdmissionOptions
from gemini_backend.policies.flow.admission import Admission
from gemini_backend.policies.flow.concurrency import FixedLimit
from gemini_backend.principal import Principal
from tests.support.clock import settle
from tests.support.layers.alone import Alone
from tests.support.messages.calls import make_call

if TYPE_CHECKING:
    from tests.support.clock import FakeClock

INTERACTIVE, DEFAULT, BATCH = (
    pb.PRIORITY_INTERACTIVE,
    pb.PRIORITY_DEFAULT,
    pb.PRIORITY_BATCH,
)


def admission_of(clock: FakeClock, slots: int, **options: Any) -> Admission:
    """Return a policy with so many slots."""
    built = AdmissionOptions(max_concurrent_requests=slots, **options)
    return Admission(lambda: built, clock, FixedLimit(lambda: built))


class Crowd:
    """Begins calls that run until they are told to end, and notes who got a slot."""

    def __init__(self, clock: FakeClock, admission: Admission) -> None:
        self.clock = clock
        self.admission = admission
        self.served: list[str] = []
        self.tasks: dict[str, asyncio.Task[Any]] = {}
        self.calls: dict[str, Any] = {}
        self._ends: dict[str, asyncio.Event] = {}

    async def begin(
        self, name: str, tenant: str = "t", priority: Any = INTERACTIVE, deadline: Any = None
    ) -> None:
        call = self.calls[name] = make_call(self.clock, deadline=deadline)
        call = replace(call, principal=Principal(tenant))
        end = self._ends[name] = asyncio.Event()

        async def work(_call: Any, _request: Any) -> str:
            self.served.append(name)
            await end.wait()
            return name

        request = pb.ExecuteRequest(model="models/a", priority=priority)
        self.tasks[name] = asyncio.ensure_future(Alone(self.admission).unary(call, request, work))
        await settle()

    async def end(self, name: str) -> None:
        self._ends[name].set()
        await settle()

    async def end_all(self) -> list[str]:
        """End whoever runs, until nobody waits; return who was served, in order."""
        for event in self._ends.values():
            event.set()
        await settle()
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)
        return self.served
