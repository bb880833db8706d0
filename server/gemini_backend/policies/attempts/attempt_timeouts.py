"""One attempt at the model is counted, and may not hang: first token, silence, the call's deadline.

Each of them fails in its own way, because each wants another cure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.durations import seconds_of
from gemini_backend.errors import FirstTokenTimeout, IdleTimeout, ServiceError
from gemini_backend.policies.attempts.attempt_budget import UNCOUNTED
from gemini_backend.policies.attempts.wait_timeout import NEVER, WaitTimeout
from gemini_backend.policies.relay import Hook

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini_backend.clock import Clock
    from gemini_backend.config.sections.execution import ExecutionOptions
    from gemini_backend.policies.attempts.attempt_budget import Attempting
    from gemini_backend.policies.relay import Run


class AttemptTimeouts(Hook):
    """Ends an attempt that takes too long; innermost, so that retries and breakers see it.

    What passes here goes out: so it is here that each attempt is taken out of the budget, and that
    one whose answer begins earns its share.

    Silence is counted between events that the caller sees. Comments and events without content of
    the model API, which proxies send to keep a connection open, do not end it: the upstream holds
    them back until something is said. They come as well when the model has stopped working, and a
    stream of nothing else has to end some time.

    The first piece of a whole answer is all of it, which may well take longer than what is
    configured for a first token. So only the request's own time counts there.

    Its failures are FirstTokenTimeout where the first event, or the whole answer, does not come in
    time, IdleTimeout where a later event does not, and DeadlinePassed where the call's deadline
    comes first.
    """

    def __init__(
        self,
        options: Callable[[], ExecutionOptions],
        clock: Clock,
        budget: Attempting = UNCOUNTED,
    ) -> None:
        """Read the options anew for each attempt; take it out of `budget`."""
        self._options = options
        self._clock = clock
        self._budget = budget

    def begin(self, run: Run, /) -> None:
        """Begin an attempt, and time it.

        Raises:
            CircuitOpen: the budget of attempts is spent.
        """
        request, budget = run.request, self._budget
        model = request.model
        paid = budget.take(run.call, model)
        own = type(request) is pb.ExecuteRequest  # others set no times
        if run.streams:
            options = self._options()
            first, idle = options.first_token_timeout_seconds, options.idle_timeout_seconds
            if own and request.HasField("idle_timeout"):
                idle = seconds_of(request.idle_timeout)
            failure = _no_first_token
        else:
            first, idle, failure = 0.0, 0.0, _no_answer
        if own and request.HasField("first_token_timeout"):
            first = seconds_of(request.first_token_timeout)
        attempt = _Attempt(run.call, self._clock, first, failure, idle)
        attempt.counts(budget, model, idle, paid=paid)
        run.watches.append(attempt)

    def __repr__(self) -> str:
        """Name the policy and its options."""
        options = self._options()
        return (
            f"AttemptTimeouts(first_token={options.first_token_timeout_seconds:g} s, "
            f"idle={options.idle_timeout_seconds:g} s)"
        )


class _Attempt(WaitTimeout):
    """One attempt: its times, and its place in the budget."""

    __slots__ = ("_budget", "_idle", "_model", "_paid")

    def counts(self, budget: Attempting, model: str, idle: float, *, paid: bool) -> None:
        """Say of what it was taken, and how long a later event may take."""
        self._budget = budget
        self._model = model
        self._idle = idle
        self._paid = paid

    def first(self, _event: Any, /) -> None:
        self._budget.succeeded(self._call, self._model, paid=self._paid)
        self._limit, self._failure = self._idle if self._idle > 0 else NEVER, _too_silent

    def answer(self, _response: Any, /) -> None:
        self._budget.succeeded(self._call, self._model, paid=self._paid)


def _no_first_token(limit: float) -> ServiceError:
    return FirstTokenTimeout(
        f"the model sent no first token within {limit:g} s; set a longer first_token_timeout "
        "(default execution.first_token_timeout_seconds), or use a faster model"
    )


def _no_answer(limit: float) -> ServiceError:
    return FirstTokenTimeout(
        f"the model sent no answer within {limit:g} s; set a longer first_token_timeout, which "
        "limits the time of a whole answer, or use Execute"
    )


def _too_silent(limit: float) -> ServiceError:
    return IdleTimeout(
        f"the model sent nothing for {limit:g} s within its answer; set a longer idle_timeout "
        "(default execution.idle_timeout_seconds), or retry"
    )
