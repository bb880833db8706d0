"""How much may pass: upstream's quota, limits by principal, slots and the queue before them."""

from __future__ import annotations

from typing import Annotated

import msgspec

from gemini_backend.config.about import MODEL_PATTERN, Options, about
from gemini_backend.config.errors import ConfigError

_MAX_LIMITS = 1000
_LARGEST = 1_000_000_000_000


class QuotaLimitOptions(Options, frozen=True):
    """The quota of one model; 0 where it is not known."""

    model: Annotated[str, msgspec.Meta(pattern=MODEL_PATTERN)]
    requests_per_minute: Annotated[int, msgspec.Meta(ge=0, le=_LARGEST)] = 0
    tokens_per_minute: Annotated[int, msgspec.Meta(ge=0, le=_LARGEST)] = 0
    requests_per_day: Annotated[int, msgspec.Meta(ge=0, le=_LARGEST)] = 0


class QuotaOptions(Options, frozen=True):
    """The upstream project's quota, kept so that upstream need not refuse."""

    enabled: Annotated[
        bool, about("Whether calls wait for quota instead of being refused.", live=True)
    ] = True
    requests_per_minute: Annotated[
        int,
        about(
            "Requests a minute for each model; 0 until upstream tells.",
            live=True,
            ge=0,
            le=_LARGEST,
        ),
    ] = 0
    tokens_per_minute: Annotated[
        int,
        about(
            "Input tokens a minute for each model; 0 until upstream tells.",
            live=True,
            ge=0,
            le=_LARGEST,
        ),
    ] = 0
    requests_per_day: Annotated[
        int,
        about(
            "Requests a day for each model, to midnight Pacific time; 0 until upstream tells.",
            live=True,
            ge=0,
            le=_LARGEST,
        ),
    ] = 0
    models: Annotated[
        tuple[QuotaLimitOptions, ...],
        about(
            "Tables with `model`, `requests_per_minute`, `tokens_per_minute`, `requests_per_day`, "
            "for models with a quota of their own; at most 1000.",
            live=True,
        ),
    ] = ()
    max_wait_seconds: Annotated[
        float,
        about(
            "Longest wait for quota; a call that would wait longer fails.", live=True, ge=0, le=3600
        ),
    ] = 30.0
    max_waiting: Annotated[
        int,
        about(
            "Most calls that wait for quota; further ones fail at once.",
            live=True,
            ge=0,
            le=1_000_000,
        ),
    ] = 10_000

    def __post_init__(self) -> None:
        """Refuse two quotas for one model, and too many.

        Raises:
            ConfigError: there are.
        """
        names = [limit.model.rpartition("/")[2] for limit in self.models]
        if len(names) > _MAX_LIMITS or len(names) != len(set(names)):
            msg = f"quota.models must name each model once, and at most {_MAX_LIMITS}"
            raise ConfigError.at(msg, "quota.models")


class RateLimitOptions(Options, frozen=True):
    """What each principal may ask for; refused beyond it, never queued."""

    requests_per_minute: Annotated[
        int,
        about(
            "Executions a minute for each principal; 0 for no limit.", live=True, ge=0, le=_LARGEST
        ),
    ] = 0
    tokens_per_minute: Annotated[
        int,
        about(
            "Tokens a minute, prompt and answer, for each principal; 0 for no limit.",
            live=True,
            ge=0,
            le=_LARGEST,
        ),
    ] = 0


class AdmissionOptions(Options, frozen=True):
    """Slots for executions at upstream, and the queue for them."""

    max_concurrent_requests: Annotated[
        int,
        about(
            "Attempts at upstream at once; further ones wait for a slot; 0 for no limit. With "
            "`admission.adaptive` the most that the limit may grow to, and 0 stands for 1000.",
            live=True,
            ge=0,
            le=1_000_000,
        ),
    ] = 1000
    adaptive: Annotated[
        bool,
        about(
            "Whether the limit follows upstream: less when first pieces come later than usual or "
            "upstream fails, more when they come in time."
        ),
    ] = False
    min_concurrent_requests: Annotated[
        int, about("Least that an adaptive limit shrinks to.", live=True, ge=1, le=1_000_000)
    ] = 10
    max_queued: Annotated[
        int,
        about(
            "Most attempts that wait; beyond it the newest of the lowest priority is refused, or "
            "of the tenant that has the most waiting.",
            live=True,
            ge=0,
            le=1_000_000,
        ),
    ] = 10_000
