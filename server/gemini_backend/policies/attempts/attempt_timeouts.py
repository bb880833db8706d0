"""One attempt at the model is counted, and may not hang: first token, silence, the call's deadline.

Each of them fails in its own way, because each wants another cure.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.durations import seconds_of
from gemini_backend.errors import FirstTokenTimeout, IdleTimeout, ServiceError
from gemini_backend.policies.attempts.attempt_budget import UNCOUNTED
from gemini_backend.policies.attempts.wait_timeout import WaitTimeout, deadline_passed
from gemini_backend.policies.base import opened

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from gemini_backend.call import Call
    from gemini_backend.clock import Clock
    from gemini_backend.config.sections.execution import ExecutionOptions
    from gemini_backend.policies.attempts.attempt_budget import Attempting
    from gemini_backend.policies.base import Stream, Unary


class AttemptTimeouts:
    """Ends an attempt that takes too long; innermost, so that retries and breakers see it.

    What passes here goes out: so it is here that each attempt is taken out of the budget, and that
    one whose answer begins earns its share.
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

    async def unary(self, call: Call, request: Any, proceed: Unary[Any, Any], /) -> Any:
        """Answer in time.

        The first piece of a whole answer is all of it, which may well take longer than what is
        configured for a first token. So only the request's own time counts here.

        Raises:
            FirstTokenTimeout: it did not come within the request's `first_token_timeout`.
            DeadlinePassed: the call's deadline came first.
            CircuitOpen: the budget of attempts is spent.
        """
        paid = self._budget.take(call, request.model)
        remaining = call.remaining(self._clock.now())
        own = _seconds(request, "first_token_timeout", 0.0)
        sooner = own > 0 and (remaining is None or own < remaining)
        try:
            async with self._clock.timeout(own if sooner else remaining):
                response = await proceed(call, request)
        except TimeoutError:
            raise (_no_answer(own) if sooner else deadline_passed(call)) from None
        self._budget.succeeded(call, request.model, paid=paid)
        return response

    async def stream(
        self, call: Call, request: Any, proceed: Stream[Any, Any], /
    ) -> AsyncIterator[Any]:
        """Hand events on as long as they come in time.

        Silence is counted between events that the caller sees. Comments and events without content
        of the model API, which proxies send to keep a connection open, do not end it: the upstream
        holds them back until something is said. They come as well when the model has stopped
        working, and a stream of nothing else has to end some time.

        Raises:
            FirstTokenTimeout: the first one did not.
            IdleTimeout: a later one did not.
            DeadlinePassed: the call's deadline came first.
            CircuitOpen: the budget of attempts is spent.
        """
        paid = self._budget.take(call, request.model)
        begun = False
        options = self._options()
        first = _seconds(request, "first_token_timeout", options.first_token_timeout_seconds)
        idle = _seconds(request, "idle_timeout", options.idle_timeout_seconds)
        patience = WaitTimeout(call, self._clock)
        patience.wait_for(first, _no_first_token)
        try:
            async with opened(proceed(call, request)) as events:
                while True:
                    patience.begin()
                    try:
                        event = await anext(events, None)
                    except asyncio.CancelledError:
                        patience.explain()
                        raise
                    patience.end()
                    if event is None:
                        return
                    if not begun:
                        begun = True
                        self._budget.succeeded(call, request.model, paid=paid)
                    yield event
                    patience.wait_for(idle, _too_silent)
        finally:
            patience.close()

    def __repr__(self) -> str:
        """Name the policy and its options."""
        options = self._options()
        return (
            f"AttemptTimeouts(first_token={options.first_token_timeout_seconds:g} s, "
            f"idle={options.idle_timeout_seconds:g} s)"
        )


def _seconds(request: Any, field: str, default: float) -> float:
    """Return the request's own time where it sets one, as only executions can."""
    if not isinstance(request, pb.ExecuteRequest) or not request.HasField(field):  # type: ignore[arg-type] # one of two
        return default
    return seconds_of(getattr(request, field))


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
