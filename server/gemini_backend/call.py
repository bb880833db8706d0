"""The call: what every layer knows of the work in hand, be it an RPC or an item of a batch."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple, Protocol

from msgspec import Struct
from msgspec import field as new

from gemini_backend.principal import ANONYMOUS, Principal

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping
    from datetime import datetime

    from google.protobuf.message import Message

    from gemini.backend.v1.content_pb2 import Cost, Usage
    from gemini.backend.v1.execute_service_pb2 import Completed, ExecuteRequest, ProcessResponse
    from gemini_backend.errors import ServiceError


@dataclass(frozen=True, slots=True)
class UpstreamKey:
    """A key of the upstream's, by the beginning of a digest of it; never the key itself.

    Keys of one project share its quota.
    """

    key_id: str
    project: str


class AttemptRecord(Struct):
    """One try at an upstream, as it is told in `completed` and in failures.

    `used` returns what the answer has used so far, as far as that is known.
    """

    model: str
    started: float
    ended: float | None = None
    error: ServiceError | None = None
    key_id: str = ""
    cancelled: bool = False
    used: Callable[[], Usage | None] | None = None


@dataclass(frozen=True, slots=True)
class Hop:
    """One request to the model of an answer that took several, as it is priced.

    `version` is the model version that served, `usage` that request's own tokens (None where none
    were reported), `tier` the terms that it was served at, `ended` the time of day, with its zone.
    """

    version: str
    usage: Usage | None
    tier: str
    ended: datetime


class Work(Enum):
    """What kind of work a call is; layers are chosen by it."""

    CALL = "an RPC that runs no model"
    ACT = "an RPC that the audit log has: it acts on the server, or looks at that log"
    EXECUTION = "an execution"
    ITEM = "an item of a batch, an execution that is not an RPC"
    SUMMARY = "a summary of a session's older turns, an execution within an execution"
    EMBEDDING = "a batch of contents to embed"


class Budget(Protocol):
    """How long a call may go on, shared by queueing, retries, hedges and the upstream."""

    @property
    def deadline(self) -> float | None:
        """Absolute time in seconds on `Clock.now()`; None for no deadline."""
        ...

    def wanted(self) -> bool:
        """Return whether anybody still wants further requests to be made for the call."""
        ...


class FixedBudget(Struct, frozen=True, gc=False):
    """A deadline that was set once; the answer is wanted until then."""

    deadline: float | None = None

    def wanted(self) -> bool:
        """Return True: whoever no longer wants the answer cancels the call."""
        return True


UNLIMITED = FixedBudget()


class Attempts(Struct):
    """How many attempts one request to the model has taken; all that makes further ones share it.

    Attributes:
        made: Attempts begun so far.
        model: The model of the first one.
        limit: At most so many for now, since other models are in line; 0 for as many as configured.
        elsewhere: Whether another model is in line, which a failing one is not to be waited for.
        unpaid: Further attempts that the ratio does not count: in place of keys that were refused,
            and after waits that the model API named.
        again: Whether the RPC is a retry of gRPC's, so that its first attempt is a further one.
    """

    made: int = 0
    model: str = ""
    limit: int = 0
    elsewhere: bool = False
    unpaid: int = 0
    again: bool = False


class SameBytes(Protocol):
    """Whoever keeps the events of a run, for other calls that are given the same."""

    def made(self, event: object, data: bytes, /) -> None:
        """Take the bytes of an event, which whoever tells them keeps and counts as well."""
        ...

    def counts_all(self) -> None:
        """Take note that whoever told bytes has let some of them go."""
        ...


class Sketch(NamedTuple):
    """A small request in two: its bytes with other words in place of its prompt, and its prompt."""

    request: ExecuteRequest
    form: bytes
    prompt: str


class Kept(Protocol):
    """An answer that is kept and given again.

    Attributes:
        costs: What it is said to cost, by the kind of message that says so: for as long as prices
            are of this edition, for all requests or only for those that are all text.
    """

    costs: dict[type[Message], tuple[object, bool, Cost]]


class Outcome(Struct):
    """What the layers learn of a call on the way, for those outside them to read.

    Attributes:
        trailers: Sent with the status.
        attempts: Every try at the upstream so far.
        queued_seconds: Time spent in queues.
        first_token: When the first delta was handed on, on `Clock.now()`.
        model: Full name of the model that was asked for.
        served_model: Version of the model that answered.
        usage: Tokens used, as far as known.
        error: Why the call failed.
        pays: False where another call paid for the answer: a cache hit, or a shared execution.
        cost_nano_usd: What the answer cost; None where that is not known.
        cut_short: Why this server cancelled the call's task.
        hops: The requests of an answer that took more than one; empty for all others.
        awaited: Says whether somebody who has sent the same request again waits for this
            execution; None where nobody can.
        sequence: Number of the last event that was handed on; 0 before the first, and for whole
            answers.
        cache_status: Whether it came out of a cache, as `CacheStatus`.
        end: The whole answer, or the last event of one that was streamed; None before its end.
        told: Times and attempts of `end`, as bytes of its message.
        spent: What an execution cost that did not come to its end; None where that is not known.
        shared: The outcome of the run that answers this call, as long as it shares one.
        keeper: Who is told the bytes of the call's events once they are made; None for nobody.
        quota_seconds: Time spent waiting for upstream's quota, between attempts as well.
        quota_reason: Why it was waited for, in words.
        given: The kept answer that was given; None for none.
        sketch: The request in hand in short (`policies.checks`); None where it is not small.
    """

    trailers: dict[str, str] = {}
    attempts: list[AttemptRecord] = []
    queued_seconds: float = 0.0
    first_token: float | None = None
    model: str = ""
    served_model: str = ""
    usage: Usage | None = None
    error: ServiceError | None = None
    pays: bool = True
    cost_nano_usd: int | None = None
    cut_short: ServiceError | None = None
    hops: list[Hop] = []
    awaited: Callable[[], bool] | None = None
    sequence: int = 0
    cache_status: int = 0
    end: Completed | ProcessResponse | None = None
    told: bytes = b""
    spent: Cost | None = None
    shared: Outcome | None = None
    keeper: SameBytes | None = None
    quota_seconds: float = 0.0
    quota_reason: str = ""
    given: Kept | None = None
    sketch: Sketch | None = None

    def adopt(self, shared: Outcome) -> None:
        """Take over what a shared run has learned; what depends on the reader stays its own."""
        if shared.trailers:
            self.trailers.update(shared.trailers)
        self.attempts[:] = shared.attempts
        if shared.hops or self.hops:
            self.hops[:] = shared.hops
        self.queued_seconds = shared.queued_seconds
        self.quota_seconds, self.quota_reason = shared.quota_seconds, shared.quota_reason


class Call(Struct, frozen=True):
    """Who asks for what, and until when; it never changes.

    What layers learn is written into `outcome`. A layer that narrows the call for those further in
    hands on a changed copy (`narrowed`), which shares the outcome. Work that is not the RPC itself
    has a call of its own (`derive`).

    Attributes:
        method: Path of the RPC, such as "/gemini.backend.v1.ExecuteService/Execute".
        execution: Name of the execution, "executions/{id}".
        arrived: When the RPC arrived, in seconds on `Clock.now()`.
        work: What kind of work it is.
        budget: How long it may go on.
        principal: Who asks.
        metadata: The caller's metadata; binary values are left out.
        request_id: The caller's own id of the request; empty for none.
        peer: The caller's network address, as the transport reports it.
        bound_to: Id of the key whose project must serve; empty for any.
        large: Bytes of the request where they are many, so that whoever works on all of it does so
            in slices (`processing.slices`); 0 for nearly every request.
        outcome: What the layers have learned.
        attempts: What it has taken of its budget of attempts.
    """

    method: str
    execution: str
    arrived: float
    work: Work = Work.EXECUTION
    budget: Budget = UNLIMITED
    principal: Principal = ANONYMOUS
    metadata: Mapping[str, str] = {}
    request_id: str = ""
    peer: str = ""
    bound_to: str = ""
    large: int = 0
    outcome: Outcome = new(default_factory=Outcome)
    attempts: Attempts = new(default_factory=Attempts)

    @property
    def deadline(self) -> float | None:
        """The budget's deadline: absolute, in seconds on `Clock.now()`; None for none."""
        return self.budget.deadline

    @property
    def caller(self) -> str:
        """Who asks, to tell callers apart: the principal; of an anonymous one the host, too."""
        who = f"{self.principal.tenant}/{self.principal.name}"
        return f"{who}@{self.peer.rpartition(':')[0]}" if self.principal == ANONYMOUS else who

    def remaining(self, now: float) -> float | None:
        """Return the seconds left at `now`, never below 0; None without a deadline."""
        deadline = self.budget.deadline
        return None if deadline is None else max(0.0, deadline - now)

    def narrowed(
        self,
        *,
        budget: Budget | None = None,
        bound_to: str | None = None,
        attempts: Attempts | None = None,
        large: int | None = None,
    ) -> Call:
        """Return the same call with other budgets, key or size; the outcome is shared."""
        return Call(
            self.method,
            self.execution,
            self.arrived,
            self.work,
            self.budget if budget is None else budget,
            self.principal,
            self.metadata,
            self.request_id,
            self.peer,
            self.bound_to if bound_to is None else bound_to,
            self.large if large is None else large,
            self.outcome,
            self.attempts if attempts is None else attempts,
        )

    def asked_by(self, principal: Principal, without: Container[str]) -> Call:
        """Return the same call of a principal, without some of its metadata; by their keys."""
        metadata = {key: value for key, value in self.metadata.items() if key not in without}
        return Call(
            self.method,
            self.execution,
            self.arrived,
            self.work,
            self.budget,
            principal,
            metadata,
            self.request_id,
            self.peer,
            self.bound_to,
            self.large,
            self.outcome,
            self.attempts,
        )

    def derive(
        self,
        *,
        execution: str | None = None,
        work: Work | None = None,
        budget: Budget | None = None,
        request_id: str | None = None,
        large: int | None = None,
    ) -> Call:
        """Return the call of work that is done for this one but is not this one.

        Items of a batch, shared runs, summaries and embeddings have one. It is asked for by the
        same principal, has attempts of its own, and an outcome of its own, which knows the model
        that was asked for and the sketch of the request in hand, and is bound to no key.
        """
        known, outcome, attempts = self.outcome, Outcome(), Attempts()
        outcome.model, outcome.sketch = known.model, known.sketch
        attempts.again = self.attempts.again
        return Call(
            self.method,
            self.execution if execution is None else execution,
            self.arrived,
            self.work if work is None else work,
            self.budget if budget is None else budget,
            self.principal,
            self.metadata,
            self.request_id if request_id is None else request_id,
            self.peer,
            "",
            self.large if large is None else large,
            outcome,
            attempts,
        )


def reason_of_cancel(call: Call) -> ServiceError | None:
    """Return why this server cancelled the call's task; None when the caller went away.

    To be asked where a CancelledError has been caught; the task is no longer cancelled when a
    reason is returned, which is then to be raised.
    """
    task = asyncio.current_task()
    if call.outcome.cut_short is None or task is None or task.uncancel() > 0:
        return None
    return call.outcome.cut_short


# The upstream key of the attempt that this task is making.
KEY: ContextVar[UpstreamKey | None] = ContextVar("gemini_backend_upstream_key", default=None)
CURRENT: ContextVar[Call | None] = ContextVar("gemini_backend_call", default=None)


def current_call() -> Call:
    """Return the call that this task works on.

    Raises:
        LookupError: outside any call, which is a defect of whoever asks.
    """
    call = CURRENT.get()
    if call is None:
        msg = "there is no current call here"
        raise LookupError(msg)
    return call
