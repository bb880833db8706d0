"""Events made by hand, and a bus with listeners."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from gemini_backend.call import Work
from gemini_backend.telemetry.events import (
    CANCELLED,
    Bus,
    ExecutionFinished,
    ExecutionStarted,
    RpcFinished,
    RpcStarted,
)
from tests.support.messages.calls import EXECUTE

if TYPE_CHECKING:
    from gemini_backend.errors import ServiceError


class Listener(Protocol):
    """Somebody who subscribes."""

    def listen(self, bus: Bus) -> None: ...


def heard_by(*listeners: Listener) -> Bus:
    """Return a bus to which these listen."""
    bus = Bus()
    for listener in listeners:
        listener.listen(bus)
    return bus


def begun(execution: str = "e1", work: Work = Work.EXECUTION) -> ExecutionStarted:
    """Return the start of an execution."""
    return ExecutionStarted(execution, EXECUTE, work, "default", "anonymous")


def ended(
    model: str = "models/a",
    seconds: float = 1.0,
    *,
    error: ServiceError | None = None,
    cancelled: bool = False,
    **fields: Any,
) -> ExecutionFinished:
    """Return the end of an execution: well, by an error, or because its caller left."""
    how: dict[str, Any] = {"code": CANCELLED} if cancelled else {}
    if error is not None:
        how = {"code": error.code.name, "reason": error.reason}
    who: dict[str, Any] = {"execution": "e1", "method": EXECUTE, "work": Work.EXECUTION}
    who |= {"tenant": "default", "principal": "anonymous"}
    return ExecutionFinished(**(who | how | {"model": model, "seconds": seconds} | fields))


def arrived(method: str = EXECUTE) -> RpcStarted:
    """Return the start of an RPC."""
    return RpcStarted("e1", method)


def answered(
    method: str = EXECUTE, code: str = "OK", reason: str = "", seconds: float = 0.1
) -> RpcFinished:
    """Return the end of an RPC."""
    return RpcFinished("e1", method, "default", "anonymous", code, reason, seconds)
