"""An execution from its start to its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_backend.telemetry.events.event import Event

if TYPE_CHECKING:
    from gemini.backend.v1.content_pb2 import Usage
    from gemini_backend.call import Work

OK, CANCELLED = "OK", "CANCELLED"
CALLER_CANCELLED = "CALLER_CANCELLED"


class ExecutionStarted(Event, frozen=True):
    """Work for a model has begun; the first event of an execution.

    `execution` is its name, which all further events of it have; `method` the RPC that it belongs
    to. `work` says what it is: an execution, an item of a batch, a summary, embeddings.
    """

    execution: str
    method: str
    work: Work
    tenant: str
    principal: str


class ModelResolved(Event, frozen=True):
    """It is known which model an execution asks for; again where another one takes its place."""

    execution: str
    model: str


class ExecutionFinished(Event, frozen=True):
    """Work for a model has ended, in whatever way; the last event of an execution.

    Attributes:
        execution: Its name.
        method: The RPC that it belongs to.
        work: What kind of work it was.
        tenant: Who asked.
        principal: Who of the tenant asked; empty where it was done for several.
        model: Full name of the model that was asked for; empty where it failed before that.
        served_model: The version that served; empty where none did, and for embeddings.
        code: Name of the status code: OK, CANCELLED where the caller left, or that of the failure.
        reason: Why it failed; empty for a success, and where the caller left.
        seconds: From its arrival to its end.
        first_token_seconds: From its arrival to the first delta; None where there was none.
        queued_seconds: Time that was spent in queues.
        usage: The tokens that it used, as far as known.
        cost_nano_usd: What it cost in 10^-9 US dollars; None where that is not known.
        pays: False where another execution paid for the answer: a cache hit, or a shared run.
        attempts: How many attempts at the upstream it took.
        hops: How many requests an answer of several requests took; 0 for all others.
    """

    execution: str
    method: str
    work: Work
    tenant: str
    principal: str
    model: str = ""
    served_model: str = ""
    code: str = OK
    reason: str = ""
    seconds: float = 0.0
    first_token_seconds: float | None = None
    queued_seconds: float = 0.0
    usage: Usage | None = None
    cost_nano_usd: int | None = None
    pays: bool = True
    attempts: int = 0
    hops: int = 0

    @property
    def cancelled(self) -> bool:
        """Whether the caller stopped it, or left before the end."""
        return self.code == CANCELLED and self.reason in {"", CALLER_CANCELLED}
