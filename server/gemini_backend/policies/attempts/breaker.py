"""What is down is left alone: a circuit breaker for each model."""

from __future__ import annotations

from asyncio import CancelledError
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from gemini_backend.call import KEY
from gemini_backend.config.sections.resilience import BreakerOptions
from gemini_backend.errors import (
    CircuitOpen,
    DeadlinePassed,
    ServiceError,
    UnknownModel,
)
from gemini_backend.policies.attempts.circuit import Circuit, Pass
from gemini_backend.policies.event_stream import Watch
from gemini_backend.policies.failure_classification import (
    is_impatient,
    may_be_the_callers,
    model_is_ill,
)
from gemini_backend.policies.relay import Hook
from gemini_backend.policies.switchable import Switchable
from gemini_backend.telemetry.component_status import CircuitState, CircuitStatus
from gemini_backend.telemetry.events import SILENT, CircuitChanged

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini_backend.call import Call
    from gemini_backend.clock import Clock
    from gemini_backend.policies.relay import Run
    from gemini_backend.telemetry.events import Publisher

MAX_CIRCUITS = 1000


CircuitKey = tuple[str, str]  # the model by its full name, and the id of the upstream key


def by_model(_call: Call, request: Any) -> CircuitKey:
    """Return the model, for all keys."""
    return str(request.model), ""


def by_model_and_key(_call: Call, request: Any) -> CircuitKey:
    """Return the model and the key that the attempt goes out with."""
    key = KEY.get()
    return str(request.model), "" if key is None else key.key_id


class Breaker(Switchable[BreakerOptions], Hook):
    """Refuses calls of a key whose calls of late have failed too often, or one after the other.

    A circuit that has only just opened says so: those further out may wait for it (`Retry`).

    Counted are attempts that speak for or against the model: not what the caller did wrong or was
    too impatient for, not what our own rules refused. What may be due to one caller's prompt counts
    only as often as other callers have such failures (`DoubtfulFailures`). What was cancelled
    counts only where it had been slow by then, if slowness counts: callers who give up are how an
    upstream that hangs shows. An attempt goes well once its answer begins, and fails all the same
    if it breaks off later.

    At most `MAX_CIRCUITS` keys are known; beyond them the one not used for longest is forgotten.
    """

    def __init__(
        self,
        options: Callable[[], BreakerOptions],
        clock: Clock,
        key_of: Callable[[Call, Any], CircuitKey] = by_model,
        bus: Publisher = SILENT,
    ) -> None:
        """Read the options anew for each call; calls with one key share a circuit.

        Each change of a circuit's state is published on `bus`.
        """
        super().__init__(options)
        self.clock = clock
        self._key_of = key_of
        self._bus = bus
        self._circuits: OrderedDict[CircuitKey, Circuit] = OrderedDict()
        self.forgotten_rejected = 0

    def begin(self, run: Run, /) -> None:
        """Let an attempt through, or refuse it at once.

        Raises:
            CircuitOpen: the circuit lets nothing through just now.
        """
        options, now = self._options(), self.clock.now()
        key = self._key_of(run.call, run.request)
        circuit = self._circuits.get(key)
        if circuit is None:
            circuit = self._new(key, options, now)
        else:
            self._circuits.move_to_end(key)
        trial = _Trial(self, circuit, run, options, now)
        if not circuit.enter(trial, options, now):
            raise _refusal(key[0], circuit, options, now)
        run.watches.append(trial)

    def states(self) -> list[CircuitStatus]:
        """Return every circuit that has seen a call, the one used last at the end.

        None while the breaker is off: then they let everything through.
        """
        if not self._options().enabled:
            return []
        now = self.clock.now()
        return [self._status(key, circuit, now) for key, circuit in self._circuits.items()]

    @property
    def rejected(self) -> int:
        """How many calls were refused since the start."""
        return self.forgotten_rejected + sum(one.rejected for one in self._circuits.values())

    def forget(self, circuit: Circuit) -> None:
        """Keep nothing of a name that is no model's: it has no health."""
        for key in [key for key, known in self._circuits.items() if known is circuit]:
            del self._circuits[key]
            self.forgotten_rejected += circuit.rejected

    def _status(self, key: CircuitKey, circuit: Circuit, now: float) -> CircuitStatus:
        calls, failures = circuit.counts(now)
        state, since = circuit.seen(now)
        return CircuitStatus(
            key=key[0],
            key_id=key[1],
            state=state,
            since=since,
            probe_at=circuit.probe_at if state is CircuitState.OPEN else None,
            calls=calls,
            failures=failures,
            rejected=circuit.rejected,
            reason=circuit.why,
            opened=circuit.opened,
        )

    def _new(self, key: CircuitKey, options: BreakerOptions, now: float) -> Circuit:
        """Begin a circuit, in the place of the one used least where there are too many."""

        def changed(circuit: Circuit) -> None:
            at = self.clock.now()
            status = self._status(key, circuit, at)
            probe = None if status.probe_at is None else status.probe_at - at
            self._bus.publish(CircuitChanged(status, probe, circuit.outage(circuit.since)))

        circuit = self._circuits[key] = Circuit(options, now, changed)
        if len(self._circuits) > MAX_CIRCUITS:
            _, oldest = self._circuits.popitem(last=False)
            self.forgotten_rejected += oldest.rejected
        return circuit

    def _shown(self, options: BreakerOptions) -> str:
        return (
            f"failure_ratio={options.failure_ratio:g} of at least "
            f"{options.minimum_calls} calls in {options.window_seconds:g} s, "
            f"or {options.consecutive_failures} in a row, "
            f"break={options.break_seconds:g} to {options.max_break_seconds:g} s, "
            f"probes={options.half_open_probes}"
        )


def _refusal(model: str, circuit: Circuit, options: BreakerOptions, now: float) -> CircuitOpen:
    """Return why a call is not let through, and whether it is worth waiting until one is."""
    after = circuit.retry_after(now)
    error = CircuitOpen(
        f"{model} failed too often recently and its circuit is open; retry in {after:.3g} "
        "s, or name other models in fallback.models",
        retry_after=after,
    )
    error.outage = circuit.outage(now)
    error.awaited = error.outage + after <= options.max_wait_seconds
    return error


class _Trial(Pass, Watch):
    """One attempt, as it is judged."""

    __slots__ = (
        "_begun",
        "_breaker",
        "_call",
        "_circuit",
        "_options",
        "_queued",
        "_request",
        "_start",
    )

    def __init__(
        self, breaker: Breaker, circuit: Circuit, run: Run, options: BreakerOptions, now: float
    ) -> None:
        self._breaker = breaker
        self._circuit = circuit
        self._call = call = run.call
        self._request = run.request
        self._options = options
        self._start = now
        self._queued = call.outcome.queued_seconds
        self._begun = False

    def first(self, _event: Any, /) -> None:
        """Count that the answer begins; as a failure if that took too long."""
        self._begun = True
        now = self._breaker.clock.now()
        if self._too_slow(now):
            self._circuit.fail(self, self._options, now)
        else:
            self._circuit.succeed(self, self._options, now)

    answer = first

    def end(self, error: BaseException | None, /) -> None:
        """Count a failure if it is the model's; count nothing more."""
        if isinstance(error, ServiceError):
            self._failed(error)
            if isinstance(error, UnknownModel):
                self._breaker.forget(self._circuit)
        elif not self._begun and isinstance(error, CancelledError):
            self._given_up()
        if not self.settled:
            self._circuit.forget(self)

    def _failed(self, error: ServiceError) -> None:
        now = self._breaker.clock.now()
        late = isinstance(error, DeadlinePassed) and self._too_slow(now)
        if late or self._speaks_against_the_model(error, now):
            self._circuit.fail(self, self._options, now, error.reason)

    def _given_up(self) -> None:
        """Count an attempt that was cancelled before its answer began; if it was slow by then."""
        now = self._breaker.clock.now()
        if self._too_slow(now):
            self._circuit.fail(self, self._options, now)

    def _too_slow(self, now: float) -> bool:
        """Say whether it took too long, the time in our own queues left out."""
        limit = self._options.slow_call_seconds
        if limit <= 0:
            return False
        waited = self._call.outcome.queued_seconds - self._queued
        return limit <= now - self._start - waited

    def _speaks_against_the_model(self, error: ServiceError, now: float) -> bool:
        """Say whether a failure counts; a doubtful one if others have such failures as well.

        As a probe a doubtful one decides nothing: another one is sent.
        """
        if not model_is_ill(error) or is_impatient(self._request, error):
            return False
        if not may_be_the_callers(error):
            return True
        seconds = self._options.window_seconds
        return self._circuit.doubts.counts(self._call.caller, seconds, now) and not self.probe
