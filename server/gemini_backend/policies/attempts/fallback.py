"""Other models in order, when the one that was asked for cannot answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.call import AttemptRecord
from gemini_backend.errors import (
    AnswerBlocked,
    CallerError,
    CircuitOpen,
    ContextTooLong,
    DailyQuotaExhausted,
    PromptBlocked,
    QuotaExhausted,
    ServiceError,
    Throttled,
    UnknownModel,
)
from gemini_backend.models.names import full_name
from gemini_backend.policies.attempts.attempt_budget import UNCOUNTED
from gemini_backend.policies.base import with_model
from gemini_backend.policies.failure_classification import model_is_ill
from gemini_backend.policies.opening import started_of
from gemini_backend.policies.wrapper import Around
from gemini_backend.telemetry.events import SILENT, AttemptFinished, FellBack, attempt_finished

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from gemini_backend.call import Call
    from gemini_backend.clock import Clock
    from gemini_backend.config.sections.resilience import FallbackOptions
    from gemini_backend.policies.attempts.attempt_budget import Attempting
    from gemini_backend.policies.wrapper import Whole
    from gemini_backend.telemetry.events import Publisher

_CONFIGURED = {
    "unavailable": pb.FALLBACK_CONDITION_UNAVAILABLE,
    "throttled": pb.FALLBACK_CONDITION_THROTTLED,
    "blocked": pb.FALLBACK_CONDITION_BLOCKED,
    "context_too_long": pb.FALLBACK_CONDITION_CONTEXT_TOO_LONG,
}


# What attempts at the same model may be spent on before the next one is asked.
_OF_THE_MODEL = frozenset({pb.FALLBACK_CONDITION_UNAVAILABLE, pb.FALLBACK_CONDITION_THROTTLED})


def condition_of(error: ServiceError) -> int:
    """Return the `FallbackCondition` that a failure meets; UNSPECIFIED for none."""
    if isinstance(error, CircuitOpen) or model_is_ill(error):
        return pb.FALLBACK_CONDITION_UNAVAILABLE
    if isinstance(error, Throttled | DailyQuotaExhausted | QuotaExhausted):
        return pb.FALLBACK_CONDITION_THROTTLED
    if isinstance(error, PromptBlocked | AnswerBlocked):
        return pb.FALLBACK_CONDITION_BLOCKED
    if isinstance(error, ContextTooLong):
        return pb.FALLBACK_CONDITION_CONTEXT_TOO_LONG
    return pb.FALLBACK_CONDITION_UNSPECIFIED


def _unchecked(_call: Call, request: Any) -> tuple[Any, Sequence[pb.Warning]]:
    return request, ()


class Fallback(Around):
    """Runs the rest for one model after the other, each time with a copy of the request.

    Only before the first event; after it nothing is switched. The next model is asked for failures
    that meet a condition, and, where it is a stand-in itself that failed, also when the request is
    not one for that model; one that is known to be gone, or not to be able to do what is asked, is
    not even asked. What the stand-in says beyond that (blocked, a refused key) is final. When none
    has answered the failure is that of the model that was asked for.
    """

    def __init__(
        self,
        options: Callable[[], FallbackOptions],
        clock: Clock,
        check: Callable[[Call, Any], tuple[Any, Sequence[pb.Warning]]] = _unchecked,
        bus: Publisher = SILENT,
        budget: Attempting = UNCOUNTED,
    ) -> None:
        """Read the options anew for each call; none is begun after the deadline on `clock`.

        Each switch is published on `bus`. The attempts of `budget` are shared out evenly: the
        models in line have what the one before them leaves.

        `check` looks at the request for a stand-in before it is sent. It raises a `ServiceError`
        where the model is gone, cannot do what is asked, or may not be used by the principal,
        which leads on to the next one; and returns the request, for the replacement of a model
        that is gone, and warnings.
        """
        self._options = options
        self._clock = clock
        self._check = check
        self._bus = bus
        self._budget = budget
        self.switched = 0

    def run(self, call: Call, request: Any, proceed: Whole, /) -> Awaitable[Any]:
        """Answer by the first model that can; of a stream its first event ends the line.

        Raises:
            ServiceError: none could; that of the model that was asked for.
        """
        line = self._line(request)
        return proceed(call, request) if line is None else self._run(call, line, proceed)

    async def _run(self, call: Call, line: _Line, proceed: Whole) -> Any:
        while True:
            try:
                self._budget.share_out(call, len(line.models) + 1, elsewhere=line.goes_elsewhere)
                warnings = self._admit(call, line)
                answer = await proceed(call, line.request)
            except ServiceError as error:
                self._next(call, line, error)
            else:
                if line.switched:
                    _tell(answer, line.asked, warnings)
                return answer

    def _line(self, request: Any) -> _Line | None:
        """Return the models in their order; None where there is only one."""
        options = self._options()
        if not (options.models or request.HasField("fallback")):
            return None
        own = request.fallback
        names = own.models or options.models
        if not names:
            return None
        models = dict.fromkeys(full_name(name) for name in names)
        models.pop(request.model, None)
        said = [one for one in own.conditions if one != pb.FALLBACK_CONDITION_UNSPECIFIED]
        conditions = said or [_CONFIGURED[name] for name in options.conditions]
        return _Line(request, list(models), frozenset(conditions)) if models else None

    def _admit(self, call: Call, line: _Line) -> Sequence[pb.Warning]:
        """Return what there is to say of a stand-in; what cannot answer is recorded as a try."""
        if not line.switched:
            return ()
        model, now = line.request.model, self._clock.now()
        try:
            line.request, warnings = self._check(call, line.request)
            line.begin()
        except ServiceError as error:
            record = AttemptRecord(model, started=now, ended=now, error=error)
            call.outcome.attempts.append(record)
            if self._bus.heard(AttemptFinished):
                self._bus.publish(attempt_finished(call, record))
            raise
        self.switched += 1
        return warnings

    def _next(self, call: Call, line: _Line, error: ServiceError) -> None:
        """Go on to the next model, or raise what is to be told.

        No other model goes on with an answer that one has begun, which its failure's
        `continuation_token` shows.
        """
        if error.failure is not None and error.failure.continuation_token:
            raise error
        over = call.remaining(self._clock.now()) == 0 or self._budget.left(call) == 0
        if line.first is None:
            if over or not line.go_on(error):
                raise error
            line.first = error
        elif not line.goes_on_after_stand_in(error):
            raise error
        elif over or not line.models:
            line.first.metadata["fallback_models"] = ",".join(line.tried)
            raise line.first
        failed = line.request.model
        line.switch()
        if self._bus.heard(FellBack):
            self._bus.publish(FellBack(call.execution, failed, line.request.model, error.reason))

    def __repr__(self) -> str:
        """Name the policy and its options."""
        options = self._options()
        return f"Fallback(models={list(options.models)}, conditions={list(options.conditions)})"


def _tell(answer: Any, asked: str, warnings: Sequence[pb.Warning]) -> None:
    """Say at the answer's beginning which model was asked for."""
    started = started_of(answer)
    if started is not None:
        started.model = asked
        started.warnings.extend(warnings)


class _Line:
    """The models that are still to be asked, and the request for the one whose turn it is."""

    def __init__(self, request: Any, models: list[str], conditions: frozenset[int]) -> None:
        self.request = request
        self.asked: str = request.model
        self.models = models
        self.tried: list[str] = []
        self.first: ServiceError | None = None
        self._conditions = conditions
        self._begun = {self.asked}

    @property
    def switched(self) -> bool:
        """Whether it is a stand-in's turn."""
        return bool(self.tried)

    @property
    def goes_elsewhere(self) -> bool:
        """Whether another model is asked where this one is not available."""
        return bool(self.models) and bool(self._conditions & _OF_THE_MODEL)

    def go_on(self, error: ServiceError) -> bool:
        """Say whether a failure is worth another model."""
        return condition_of(error) in self._conditions

    def goes_on_after_stand_in(self, error: ServiceError) -> bool:
        """Say so of a stand-in's failure: it may also be unable to do what was asked."""
        return self.go_on(error) or isinstance(error, CallerError)

    def begin(self) -> None:
        """Note that the model is asked; it may stand in the place of the one that was named.

        Raises:
            UnknownModel: it has been asked before.
        """
        model = self.request.model
        if model in self._begun:
            msg = f"{self.tried[-1]} was shut down, and its replacement {model} was already tried"
            raise UnknownModel(msg)
        self._begun.add(model)

    def switch(self) -> None:
        """Make it the next model's turn."""
        model = self.models.pop(0)
        self.tried.append(model)
        self.request = with_model(self.request, model)
