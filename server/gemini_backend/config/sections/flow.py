"""How much may pass: upstream's quota, limits by principal, slots and the queue before them."""

from __future__ import annotations

from typing import Annotated

import msgspec

from gemini_backend.config.about import MODEL_PATTERN, Options, about
from gemini_backend.config.errors import ConfigError

_MAX_LIMITS = 1000
_LARGEST = 1_000_000_000_000


class QuotaLimitOptions(Options, frozen=True):
    """The quota of one model; 0 if it is unknown."""

    model: Annotated[str, msgspec.Meta(pattern=MODEL_PATTERN)]
    requests_per_minute: Annotated[int, msgspec.Meta(ge=0, le=_LARGEST)] = 0
    tokens_per_minute: Annotated[int, msgspec.Meta(ge=0, le=_LARGEST)] = 0
    requests_per_day: Annotated[int, msgspec.Meta(ge=0, le=_LARGEST)] = 0


class QuotaOptions(Options, frozen=True):
    """Quota of the upstream project, enforced here so that upstream does not refuse requests."""

    enabled: Annotated[
        bool, about("Makes calls wait for quota instead of being refused.", live=True)
    ] = True
    requests_per_minute: Annotated[
        int,
        about(
            "Requests per minute and model; 0 until learned from upstream.",
            live=True,
            ge=0,
            le=_LARGEST,
        ),
    ] = 0
    tokens_per_minute: Annotated[
        int,
        about(
            "Input tokens per minute and model; 0 until learned from upstream.",
            live=True,
            ge=0,
            le=_LARGEST,
        ),
    ] = 0
    requests_per_day: Annotated[
        int,
        about(
            "Requests per day and model, until midnight Pacific time; 0 until learned from "
            "upstream.",
            live=True,
            ge=0,
            le=_LARGEST,
        ),
    ] = 0
    models: Annotated[
        tuple[QuotaLimitOptions, ...],
        about(
            "Tables with `model`, `requests_per_minute`, `tokens_per_minute`, `requests_per_day`, "
            "for models with their own quota; at most 1000.",
            live=True,
        ),
    ] = ()
    max_wait_seconds: Annotated[
        float,
        about(
            "Maximum wait for quota; a call that would wait longer fails.", live=True, ge=0, le=3600
        ),
    ] = 30.0
    probe_seconds: Annotated[
        float,
        about(
            "Time without a refusal after which a learned quota that calls wait for is raised by "
            "half, and time after which one call tries a quota that upstream has closed for long; "
            "doubles with each refusal, up to an hour.",
            live=True,
            ge=1,
            le=3600,
        ),
    ] = 60.0
    max_waiting: Annotated[
        int,
        about(
            "Maximum number of calls waiting for quota; further ones fail immediately.",
            live=True,
            ge=0,
            le=1_000_000,
        ),
    ] = 10_000

    def _check(self) -> None:
        """Refuse two quotas for one model, and too many.

        Raises:
            ConfigError: there are.
        """
        names = [limit.model.rpartition("/")[2] for limit in self.models]
        if len(names) > _MAX_LIMITS or len(names) != len(set(names)):
            msg = (
                f"quota.models must name each model only once, and at most {_MAX_LIMITS} "
                "models; remove the others"
            )
            raise ConfigError.at(msg, "quota.models")


class RateLimitOptions(Options, frozen=True):
    """Rate limits per principal; requests beyond them are refused, never queued."""

    requests_per_minute: Annotated[
        int,
        about("Executions per minute and principal; 0 for no limit.", live=True, ge=0, le=_LARGEST),
    ] = 0
    tokens_per_minute: Annotated[
        int,
        about(
            "Tokens per minute and principal, prompt and answer together; 0 for no limit.",
            live=True,
            ge=0,
            le=_LARGEST,
        ),
    ] = 0
    count_cached_tokens: Annotated[
        bool,
        about(
            "Counts prompt tokens that Gemini read from its context cache against "
            "`rate_limit.tokens_per_minute`.",
            live=True,
        ),
    ] = False


class AdmissionOptions(Options, frozen=True):
    """Concurrency limit for upstream attempts, and the queue in front of it."""

    max_concurrent_requests: Annotated[
        int,
        about(
            "Maximum number of concurrent upstream attempts; further ones wait for a slot; 0 for "
            "no limit. With `admission.adaptive`, the upper bound of the limit, where 0 means "
            "1000.",
            live=True,
            ge=0,
            le=1_000_000,
        ),
    ] = 4000
    max_loop_delay_ms: Annotated[
        float,
        about(
            "Delay of the event loop beyond which no further attempts begin, so that those that "
            "run keep their pace; 0 for no limit. See docs/capacity.md.",
            live=True,
            ge=0,
            le=60_000,
        ),
    ] = 100.0
    adaptive: Annotated[
        bool,
        about(
            "Adapts the limit to upstream: lower when first pieces arrive later than usual or "
            "upstream fails, higher when they arrive in time."
        ),
    ] = False
    min_concurrent_requests: Annotated[
        int,
        about(
            "Lower bound of the adaptive limit, and of the attempts that run while the event loop "
            "is late.",
            live=True,
            ge=1,
            le=1_000_000,
        ),
    ] = 10
    max_queued: Annotated[
        int,
        about(
            "Maximum number of waiting attempts; beyond it the newest of the lowest priority is "
            "refused, or of the tenant that has the most waiting.",
            live=True,
            ge=0,
            le=1_000_000,
        ),
    ] = 10_000
