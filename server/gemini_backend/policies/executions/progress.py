"""An execution as a message: what its request says, and how far it has come."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1.content_pb2 import UsageQuality
from gemini.backend.v1.error_details_pb2 import AttemptOutcome
from gemini_backend.durations import put_seconds, timestamp_of
from gemini_backend.policies.outcome import put_attempts, used_so_far

if TYPE_CHECKING:
    from gemini_backend.call import Outcome
    from gemini_backend.policies.executions.underway import Items, Underway

_S = pb.ExecutionState


class Facts(Struct, frozen=True, gc=False):
    """What is known from the beginning on, and what does not depend on how an execution ends.

    Attributes:
        name: Its name, `executions/{execution}`.
        kind: What started it, as `ExecutionKind`.
        created: When it arrived, in seconds since the epoch.
        arrived: When it arrived, on `Clock.now()`.
        started: When the model was first asked, on `Clock.now()`; None where it was not.
        model: Full name of the model that was asked for.
        model_version: The version that served.
        cache_status: As `CacheStatus`.
        sequence: Number of the last event.
        request_id: The caller's own id of it.
        batch: Name of the batch that it is an item of; empty for none.
        session: Name of its session; empty for none.
        on_disconnect: As `DisconnectMode`.
        labels: Those of the request; None for none.
    """

    name: str
    kind: int
    created: float
    arrived: float
    started: float | None
    model: str
    model_version: str
    cache_status: int
    sequence: int
    request_id: str
    batch: str
    session: str = ""
    on_disconnect: int = 0
    labels: dict[str, str] | None = None

    def at(self, moment: float) -> float:
        """Return a moment on `Clock.now()` in seconds since the epoch."""
        return self.created + moment - self.arrived

    def message(self) -> pb.Execution:
        """Return them as a caller sees them."""
        made = pb.Execution(
            name=self.name,
            kind=self.kind,  # type: ignore[arg-type] # by number
            model=self.model,
            model_version=self.model_version,
            cache_status=self.cache_status,  # type: ignore[arg-type] # by number
            last_sequence=self.sequence,
            request_id=self.request_id,
            batch=self.batch,
            session=self.session,
            on_disconnect=self.on_disconnect,  # type: ignore[arg-type] # by number
            labels=self.labels,
            create_time=timestamp_of(self.created),
        )
        if self.started is not None:
            made.start_time.CopyFrom(timestamp_of(self.at(self.started)))
        return made


def facts_of(one: Underway) -> Facts:
    """Return what is known of an execution beside how it ends."""
    call, request, outcome = one.call, one.request, one.call.outcome
    attempts = (outcome.shared or outcome).attempts
    session, mode, labels = "", 0, None
    if type(request) is pb.ExecuteRequest:
        session, labels = request.session, request.labels
        if request.HasField("on_disconnect"):
            mode = request.on_disconnect.mode
        mode = mode or pb.DISCONNECT_MODE_CANCEL
    return Facts(
        call.execution,
        one.kind,
        one.created,
        call.arrived,
        attempts[0].started if attempts else None,
        outcome.model,
        outcome.served_model,
        outcome.cache_status,
        outcome.sequence,
        call.request_id,
        "" if one.batch is None else one.batch.call.execution,
        session,
        mode,
        dict(labels) if labels else None,
    )


def running_message(one: Underway, now: float) -> pb.Execution:
    """Return an execution that has not ended, as it stands at `now`, on `Clock.now()`."""
    made = facts_of(one).message()
    made.state = one.state
    outcome = one.call.outcome
    run = outcome.shared or outcome
    put_progress(made, one, run, now)
    for attempt, record in zip(made.attempts, run.attempts, strict=True):
        if record.ended is None:
            attempt.outcome = AttemptOutcome.ATTEMPT_OUTCOME_UNSPECIFIED
    return made


def put_progress(made: pb.Execution, one: Underway, run: Outcome, now: float) -> None:
    """Say how far an execution has come: `run` is the outcome of the run that answers it."""
    call = one.call
    put_seconds(made.timing.queued, run.queued_seconds)
    put_seconds(made.timing.total, now - call.arrived)
    if call.outcome.first_token is not None:
        put_seconds(made.timing.first_token, call.outcome.first_token - call.arrived)
    if run.attempts:
        put_attempts(made.attempts, run.attempts, now)
    usage = used_so_far(run)
    if usage is not None:
        made.usage.CopyFrom(usage)
        made.usage.quality = max(usage.quality, UsageQuality.USAGE_QUALITY_ESTIMATED)
    if one.items is not None:
        _put_items(made, one.items)


def _put_items(made: pb.Execution, items: Items) -> None:
    counts = items.counts
    made.item_counts.unfinished = items.number - sum(counts.values())
    made.item_counts.succeeded = counts.get(_S.EXECUTION_STATE_SUCCEEDED, 0)
    made.item_counts.failed = counts.get(_S.EXECUTION_STATE_FAILED, 0)
    made.item_counts.cancelled = counts.get(_S.EXECUTION_STATE_CANCELLED, 0)
    if items.usage is not None:
        made.usage.CopyFrom(items.usage)
    if items.cost is not None:
        made.cost.CopyFrom(items.cost)
