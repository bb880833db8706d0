"""The call: what every layer knows of the work in hand, be it an RPC or an item of a batch."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from gemini.backend.v1.content_pb2 import Usage
    from gemini_backend.errors import ServiceError


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks. Whatever is kept for one tenant is never shown to another."""

    tenant: str = "default"
    name: str = "anonymous"
    roles: frozenset[str] = frozenset()


ANONYMOUS = Principal()


@dataclass(frozen=True, slots=True)
class UpstreamKey:
    """A key of the upstream's, by its place in the configuration; never the key itself.

    `key_id` is the beginning of a digest of it. Keys of one project share its quota.
    """

    index: int
    key_id: str
    project: str


@dataclass(slots=True)
class AttemptRecord:
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


def _always() -> bool:
    return True


@dataclass(slots=True)
class Call:
    """One RPC, or one item of a batch.

    `deadline` and `arrived` are seconds on `Clock.now()`; the deadline is absolute, one budget
    that queueing, retries, hedges and the upstream share. `trailers` go out with the status.
    What the layers learn on the way (attempts, model, usage, error) is written here for those
    outside them to read. `pays` is false where the answer was paid for by another call: it came
    out of the cache, or from an execution that is shared.

    `hops` has the requests of an answer that took more than one; empty for all others.
    `bound_to` is the id of the key whose project must serve; empty for any. `goes_on` says whether
    anybody still wants more requests to be made for this call.
    """

    method: str
    execution: str
    arrived: float
    deadline: float | None = None
    principal: Principal = ANONYMOUS
    idempotent: bool = False
    metadata: Mapping[str, str] = field(default_factory=dict)
    trailers: dict[str, str] = field(default_factory=dict)
    attempts: list[AttemptRecord] = field(default_factory=list)
    queued_seconds: float = 0.0
    first_token: float | None = None
    request_id: str = ""
    model: str = ""
    served_model: str = ""
    usage: Usage | None = None
    error: ServiceError | None = None
    pays: bool = True
    cost_nano_usd: int | None = None
    cut_short: ServiceError | None = None
    hops: list[Hop] = field(default_factory=list)
    bound_to: str = ""
    goes_on: Callable[[], bool] = _always

    def remaining(self, now: float) -> float | None:
        """Return the seconds left at `now`, never below 0; None without a deadline."""
        return None if self.deadline is None else max(0.0, self.deadline - now)


def reason_of_cancel(call: Call) -> ServiceError | None:
    """Return why this server cancelled the call's task; None when the caller went away.

    To be asked where a CancelledError has been caught; the task is no longer cancelled when a
    reason is returned, which is then to be raised.
    """
    task = asyncio.current_task()
    if call.cut_short is None or task is None or task.uncancel() > 0:
        return None
    return call.cut_short


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
        msg = "no call is in hand here"
        raise LookupError(msg)
    return call
