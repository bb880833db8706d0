"""What stands between a failed attempt and a failed call: retry, hedge, fallback, breaker."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from gemini_backend.config.about import DAY_SECONDS, MODEL_PATTERN, Options, about
from gemini_backend.config.errors import ConfigError

_MAX_MODELS = 8
_MODEL = re.compile(MODEL_PATTERN)


class RetryOptions(Options, frozen=True):
    """Further tries of the same model, before the first piece of an answer."""

    enabled: Annotated[bool, about("Whether failed attempts are made again.", live=True)] = True
    max_attempts: Annotated[
        int,
        about(
            "Most tries of one model, the first one included; 1 for none.", live=True, ge=1, le=10
        ),
    ] = 3
    initial_delay_ms: Annotated[
        float,
        about(
            "Longest wait before the second try, in milliseconds; the real one is drawn between 0 "
            "and it, so that callers do not come back all at once.",
            live=True,
            ge=0,
            le=60_000,
        ),
    ] = 1000.0
    exponential_base: Annotated[
        float, about("What the longest wait is multiplied by at each try.", live=True, ge=1, le=10)
    ] = 2.0
    max_delay_seconds: Annotated[
        float,
        about("Longest wait that the multiplication leads to.", live=True, ge=0, le=3600),
    ] = 20.0
    max_retry_after_seconds: Annotated[
        float,
        about(
            "Longest wait that upstream may ask for; where it asks for more, the call fails at "
            "once and says after how long to come back.",
            live=True,
            ge=0,
            le=DAY_SECONDS,
        ),
    ] = 60.0
    budget_ratio: Annotated[
        float,
        about(
            "Retries allowed for each call of the last 10 seconds; beyond them failures are final, "
            "so that retries do not bury an upstream that is down.",
            live=True,
            ge=0,
            le=10,
        ),
    ] = 0.5
    budget_min_per_second: Annotated[
        float,
        about(
            "Retries a second that are allowed however few calls there are.",
            live=True,
            ge=0,
            le=10_000,
        ),
    ] = 3.0


class HedgeOptions(Options, frozen=True):
    """A second attempt beside one that is slow to begin; the first to answer wins."""

    enabled: Annotated[
        bool,
        about("Whether slow attempts get company; the loser's tokens may be billed.", live=True),
    ] = False
    delay_ms: Annotated[
        float,
        about(
            "Wait for the first piece of an answer before the second attempt, in milliseconds; 0 "
            "for the time within which `hedge.quantile` of the model's latest answers began.",
            live=True,
            ge=0,
            le=600_000,
        ),
    ] = 0.0
    quantile: Annotated[
        float, about("Share of answers that began sooner.", live=True, gt=0, le=1)
    ] = 0.95
    minimum_samples: Annotated[
        int,
        about(
            "Answers that must have been timed before a time is taken from them; until then "
            "nothing is hedged.",
            live=True,
            ge=1,
            le=100_000,
        ),
    ] = 20
    budget_ratio: Annotated[
        float,
        about(
            "Second attempts allowed for each call of the last 10 seconds.", live=True, ge=0, le=1
        ),
    ] = 0.1


class FallbackOptions(Options, frozen=True):
    """Other models, asked when the one that was wanted cannot answer."""

    models: Annotated[
        tuple[str, ...],
        about(
            "Models to ask in order, for requests that name none of their own; at most 8.",
            live=True,
        ),
    ] = ()
    conditions: Annotated[
        tuple[Literal["unavailable", "throttled", "blocked", "context_too_long"], ...],
        about(
            "Failures that are worth another model, for requests that name none: `unavailable`, "
            "`throttled`, `blocked`, `context_too_long`.",
            live=True,
        ),
    ] = ("unavailable", "throttled")

    def __post_init__(self) -> None:
        """Refuse names that are none, and too many.

        Raises:
            ConfigError: there are.
        """
        if len(self.models) > _MAX_MODELS:
            msg = f"fallback.models has {len(self.models)} models and may have {_MAX_MODELS}"
            raise ConfigError.at(msg, "fallback.models")
        for model in self.models:
            if not _MODEL.match(model):
                msg = f"fallback.models: {model[:140]!r} is no model's name; write it like gemini-x"
                raise ConfigError.at(msg, "fallback.models")


class BreakerOptions(Options, frozen=True):
    """A circuit breaker for each model: what is down is left alone for a while."""

    enabled: Annotated[bool, about("Whether breakers open.", live=True)] = True
    failure_ratio: Annotated[
        float,
        about("Share of failed attempts in the window at which one opens.", live=True, gt=0, le=1),
    ] = 0.5
    minimum_calls: Annotated[
        int,
        about("Attempts in the window below which none opens.", live=True, ge=1, le=100_000),
    ] = 50
    window_seconds: Annotated[
        float, about("How far back attempts count; slides by tenths.", live=True, ge=1, le=3600)
    ] = 30.0
    break_seconds: Annotated[
        float,
        about("How long one stays open before it lets probes through.", live=True, gt=0, le=3600),
    ] = 10.0
    half_open_probes: Annotated[
        int,
        about(
            "Probes that it then lets through; it closes when so many have succeeded, and opens "
            "again when one fails.",
            live=True,
            ge=1,
            le=1000,
        ),
    ] = 3
    slow_call_seconds: Annotated[
        float,
        about(
            "Time to the first piece of an answer from which an attempt counts as failed; 0 for "
            "never.",
            live=True,
            ge=0,
            le=DAY_SECONDS,
        ),
    ] = 0.0
