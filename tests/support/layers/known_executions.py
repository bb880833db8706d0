"""A register of executions, with options that a test sets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.api.requests.status import whole_status_of
from gemini_backend.api.requests.unexpected import service_error_of
from gemini_backend.config.sections.execution import ExecutionOptions
from gemini_backend.policies.executions import ExecutionRegister, Remembered
from gemini_backend.principal import Principal
from tests.support.upstreams.counting_upstream import caller

if TYPE_CHECKING:
    from gemini_backend.call import Call
    from tests.support.clock import FakeClock

# The time of day at which the clock of a test stands at 0.
MIDNIGHT = 1_800_000_000.0


class Known:
    """What is known of executions, by the clock of a test."""

    def __init__(self, clock: FakeClock, **options: Any) -> None:
        self.clock = clock
        self.options = ExecutionOptions(**options)
        self.remembered = Remembered(lambda: self.options, clock)
        self.register = ExecutionRegister(
            lambda: self.options,
            self.remembered,
            _described,
            clock=clock,
            wall=lambda: MIDNIGHT + clock.now(),
        )

    def set(self, **options: Any) -> None:
        self.options = replace(self.options, **options)

    def call(self, name: str = "executions/e1", principal: str = "ann") -> Call:
        """Return a call of a principal that starts an execution."""
        return replace(caller(self.clock, name), principal=Principal(name=principal))

    def begin(
        self,
        name: str = "executions/e1",
        principal: str = "ann",
        kind: pb.ExecutionKind.ValueType = pb.EXECUTION_KIND_EXECUTE,
        **request: Any,
    ) -> Call:
        """Begin an execution in the current task."""
        call = self.call(name, principal)
        self.register.begin(call, pb.ExecuteRequest(**request), kind)
        return call

    def get(self, name: str = "executions/e1", principal: str = "ann") -> pb.Execution:
        return self.register.get(Principal(name=principal), name)


def _described(call: Call, error: Exception) -> Any:
    known = service_error_of(call, error)
    return known, whole_status_of(known)
