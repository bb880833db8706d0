"""What stands between a failed attempt and a failed call: retry, hedge, fallback, breaker."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from gemini_backend.config.about import DAY_SECONDS, MODEL_PATTERN, Options, about
from gemini_backend.config.errors import ConfigError

_MAX_MODELS = 8
_MODEL = re.compile(MODEL_PATTERN)


class RetryOptions(Options, frozen=True):
    """Retries of the same model, before the first piece of an answer."""

    enabled: Annotated[bool, about("Enables retries.", live=True)] = True
    max_attempts: Annotated[
        int,
        about(
            "Maximum number of attempts of an execution in all: the first one, retries, hedges, "
            "other keys and fallback models together. Each request of a long answer has as many.",
            live=True,
            ge=1,
            le=10,
        ),
    ] = 6
    initial_delay_ms: Annotated[
        float,
        about(
            "Upper limit of the backoff before the second attempt, in milliseconds; the actual "
            "backoff is random between 0 and this limit, so that callers do not retry all at the "
            "same time.",
            live=True,
            ge=0,
            le=60_000,
        ),
    ] = 1000.0
    exponential_base: Annotated[
        float,
        about(
            "Factor by which the upper limit of the backoff grows with each attempt.",
            live=True,
            ge=1,
            le=10,
        ),
    ] = 2.0
    max_delay_seconds: Annotated[
        float,
        about(
            "Upper limit of the backoff, however many attempts there are.", live=True, ge=0, le=3600
        ),
    ] = 5.0
    max_retry_after_seconds: Annotated[
        float,
        about(
            "Maximum retry delay accepted from upstream; if it asks for more, the call fails "
            "immediately and reports the delay.",
            live=True,
            ge=0,
            le=DAY_SECONDS,
        ),
    ] = 60.0
    budget_ratio: Annotated[
        float,
        about(
            "Budget of attempts: further attempts allowed for each execution that succeeds, per "
            "model and tenant; beyond it failures are final, so that retries, hedges, other keys "
            "and fallback models do not overload an upstream that is down.",
            live=True,
            ge=0,
            le=10,
        ),
    ] = 0.3
    budget_reserve: Annotated[
        float,
        about(
            "Further attempts allowed before any execution has succeeded; the budget never holds "
            "more than these.",
            live=True,
            ge=0,
            le=100_000,
        ),
    ] = 30.0
    budget_min_per_second: Annotated[
        float,
        about(
            "Further attempts per second that the budget gains whether executions succeed or not, "
            "up to `retry.budget_reserve`.",
            live=True,
            ge=0,
            le=10_000,
        ),
    ] = 0.02


class HedgeOptions(Options, frozen=True):
    """Hedging: a second attempt in parallel with a slow one; the first answer wins."""

    enabled: Annotated[
        bool,
        about("Enables hedging; the tokens of the losing attempt may be billed.", live=True),
    ] = False
    delay_ms: Annotated[
        float,
        about(
            "Delay of the second attempt, in milliseconds; 0 for the time within which "
            "`hedge.quantile` of the model's latest answers started.",
            live=True,
            ge=0,
            le=600_000,
        ),
    ] = 0.0
    quantile: Annotated[
        float,
        about(
            "Quantile of the model's times to the first piece that is used as the delay.",
            live=True,
            gt=0,
            le=1,
        ),
    ] = 0.95
    minimum_samples: Annotated[
        int,
        about(
            "Minimum number of measured answers before a delay is derived from them; until then "
            "nothing is hedged.",
            live=True,
            ge=1,
            le=100_000,
        ),
    ] = 20
    budget_ratio: Annotated[
        float,
        about(
            "Second attempts allowed per call of the last 10 seconds; each also comes out of the "
            "budget of attempts (`retry.budget_ratio`).",
            live=True,
            ge=0,
            le=1,
        ),
    ] = 0.1


class FallbackOptions(Options, frozen=True):
    """Fallback: other models, used when the requested one cannot answer."""

    models: Annotated[
        tuple[str, ...],
        about(
            "Fallback models in order, for requests that name none; at most 8.",
            live=True,
        ),
    ] = ()
    conditions: Annotated[
        tuple[Literal["unavailable", "throttled", "blocked", "context_too_long"], ...],
        about(
            "Failures that trigger a fallback, for requests that name none: `unavailable`, "
            "`throttled`, `blocked`, `context_too_long`.",
            live=True,
        ),
    ] = ("unavailable", "throttled")

    def _check(self) -> None:
        """Refuse names that are none, and too many.

        Raises:
            ConfigError: there are.
        """
        if len(self.models) > _MAX_MODELS:
            msg = (
                f"fallback.models has {len(self.models)} models and may have at most "
                f"{_MAX_MODELS}; remove some of them"
            )
            raise ConfigError.at(msg, "fallback.models")
        for model in self.models:
            if not _MODEL.match(model):
                msg = (
                    f"fallback.models: {model[:140]!r} is not a model name; write it like gemini-x"
                )
                raise ConfigError.at(msg, "fallback.models")


class BreakerOptions(Options, frozen=True):
    """One circuit breaker per model: a failing model is not called for a while."""

    enabled: Annotated[bool, about("Enables circuit breakers.", live=True)] = True
    failure_ratio: Annotated[
        float,
        about(
            "Share of failed attempts in the window at which a breaker opens.",
            live=True,
            gt=0,
            le=1,
        ),
    ] = 0.5
    minimum_calls: Annotated[
        int,
        about(
            "Minimum number of attempts in the window for a breaker to open.",
            live=True,
            ge=1,
            le=100_000,
        ),
    ] = 50
    window_seconds: Annotated[
        float,
        about(
            "Length of the sliding window of attempts; it slides in tenths of its length.",
            live=True,
            ge=1,
            le=3600,
        ),
    ] = 10.0
    consecutive_failures: Annotated[
        int,
        about(
            "Number of failed attempts in a row at which a breaker opens, however few attempts "
            "are in the window; 0 for never.",
            live=True,
            ge=0,
            le=100_000,
        ),
    ] = 10
    break_seconds: Annotated[
        float,
        about(
            "Time for which a breaker stays open before it allows the first probe; after a probe "
            "that failed, a quarter of the outage so far, if that is longer.",
            live=True,
            gt=0,
            le=3600,
        ),
    ] = 0.5
    max_break_seconds: Annotated[
        float,
        about(
            "Upper limit of the time between probes, however long the outage; "
            "`breaker.break_seconds` if that is longer.",
            live=True,
            gt=0,
            le=3600,
        ),
    ] = 5.0
    max_wait_seconds: Annotated[
        float,
        about(
            "Age of an outage up to which calls wait for the breaker to close; in a longer one, "
            "and where a fallback model is left, they are refused at once; 0 for never.",
            live=True,
            ge=0,
            le=3600,
        ),
    ] = 5.0
    half_open_probes: Annotated[
        int,
        about(
            "Number of probes that must succeed for a half-open breaker to close; it opens again "
            "when one fails before any has succeeded, or when as many fail.",
            live=True,
            ge=1,
            le=1000,
        ),
    ] = 3
    slow_call_seconds: Annotated[
        float,
        about(
            "Time to the first piece of an answer at which an attempt counts as failed; 0 for "
            "never.",
            live=True,
            ge=0,
            le=DAY_SECONDS,
        ),
    ] = 0.0
