"""How answers are kept and shared: the cache, executions in common, the journal."""

from __future__ import annotations

from typing import Annotated, Literal

from gemini_backend.config.about import DAY_SECONDS, Options, about
from gemini_backend.config.errors import ConfigError

_MONTH_SECONDS = 30 * DAY_SECONDS


class CacheOptions(Options, frozen=True):
    """Exact-match cache: answers stored for identical requests of the same tenant."""

    mode: Annotated[
        Literal["deterministic", "all", "off"],
        about(
            "Answers that are stored unless the request specifies it: answers to requests with "
            "temperature 0, `top_k` 1 or a seed and without retrieval tools; all answers; no "
            "answers.",
            live=True,
        ),
    ] = "deterministic"
    max_entries: Annotated[
        int,
        about(
            "Maximum number of answers; beyond it the least recently used one is evicted.",
            ge=1,
            le=10_000_000,
        ),
    ] = 10_000
    max_size_mb: Annotated[
        int,
        about(
            "Maximum memory for answers, in MiB; beyond it the least recently used one is evicted.",
            ge=1,
            le=1_048_576,
        ),
    ] = 100
    max_entry_kb: Annotated[
        int,
        about("Maximum size of a stored answer, in KiB.", live=True, ge=1, le=65_536),
    ] = 1024
    ttl_seconds: Annotated[
        float,
        about(
            "Time for which a stored answer is fresh, unless the request specifies it.",
            live=True,
            gt=0,
            le=_MONTH_SECONDS,
        ),
    ] = 3600.0
    max_ttl_seconds: Annotated[
        float,
        about("Upper limit of the freshness time in requests.", live=True, gt=0, le=_MONTH_SECONDS),
    ] = DAY_SECONDS
    stale_if_error_seconds: Annotated[
        float,
        about(
            "Time for which a stale answer is kept for use when the model fails; 0 disables it.",
            live=True,
            ge=0,
            le=_MONTH_SECONDS,
        ),
    ] = 3600.0
    allow_stale: Annotated[
        bool,
        about(
            "Allows stale answers for requests that do not set `fallback.allow_stale`.",
            live=True,
        ),
    ] = False

    def _check(self) -> None:
        """Refuse times and sizes at odds with each other.

        Raises:
            ConfigError: they are.
        """
        if self.ttl_seconds > self.max_ttl_seconds:
            msg = (
                f"cache.ttl_seconds is {self.ttl_seconds:g} and may be at most "
                f"cache.max_ttl_seconds ({self.max_ttl_seconds:g}); change one of them"
            )
            raise ConfigError.at(msg, "cache.ttl_seconds")
        if self.max_entry_kb > self.max_size_mb * 1024:
            msg = (
                f"cache.max_entry_kb is {self.max_entry_kb} and may be at most "
                f"cache.max_size_mb ({self.max_size_mb} MiB); change one of them"
            )
            raise ConfigError.at(msg, "cache.max_entry_kb")


class CoalesceOptions(Options, frozen=True):
    """Single flight: identical concurrent executions share one answer."""

    mode: Annotated[
        Literal["all", "deterministic", "off"],
        about(
            "Identical requests of one tenant that share an answer in progress: all; those that "
            "the cache would store; none. Requests with `cache_control` BYPASS never share an "
            "answer.",
            live=True,
        ),
    ] = "all"
    buffer_mb: Annotated[
        int,
        about(
            "Maximum memory, in MiB, for the part of a shared answer that its slower readers have "
            "not read yet; beyond it no further caller may join, and a reader that lags behind "
            "the others by more fails.",
            live=True,
            ge=1,
            le=1024,
        ),
    ] = 4


class JournalOptions(Options, frozen=True):
    """Journal of recent events, from which a lost stream can be resumed."""

    enabled: Annotated[bool, about("Enables the journal.")] = True
    keep_seconds: Annotated[
        float,
        about(
            "Retention time of the events of an execution after it has ended.",
            live=True,
            gt=0,
            le=DAY_SECONDS,
        ),
    ] = 300.0
    max_executions: Annotated[
        int,
        about(
            "Maximum number of executions; beyond it the one that ended first is evicted, of the "
            "same tenant if there is one.",
            ge=1,
            le=1_000_000,
        ),
    ] = 10_000
    max_size_mb: Annotated[
        int,
        about(
            "Maximum memory for events, in MiB; beyond it the execution that ended first is "
            "evicted, of the same tenant if there is one.",
            ge=1,
            le=1_048_576,
        ),
    ] = 64
    max_execution_mb: Annotated[
        int,
        about(
            "Maximum memory for the events of one execution, in MiB; beyond it its oldest events "
            "are dropped.",
            ge=1,
            le=1024,
        ),
    ] = 8
    max_running_mb: Annotated[
        int,
        about(
            "Maximum memory, in MiB, for the events of running executions with `on_disconnect` "
            "CANCEL, all together; beyond it those with more than 64 KiB drop their oldest "
            "events.",
            live=True,
            ge=0,
            le=1_048_576,
        ),
    ] = 1
    grace_seconds: Annotated[
        float,
        about(
            "Time for which an execution with `on_disconnect` KEEP continues without a reader, "
            "unless the request specifies it.",
            live=True,
            gt=0,
            le=DAY_SECONDS,
        ),
    ] = 60.0
    max_grace_seconds: Annotated[
        float,
        about("Upper limit of that time in requests.", live=True, gt=0, le=DAY_SECONDS),
    ] = 600.0

    def _check(self) -> None:
        """Refuse bounds at odds with each other.

        Raises:
            ConfigError: they are.
        """
        if self.max_execution_mb > self.max_size_mb:
            msg = (
                f"journal.max_execution_mb is {self.max_execution_mb} and may be at most "
                f"journal.max_size_mb ({self.max_size_mb}); change one of them"
            )
            raise ConfigError.at(msg, "journal.max_execution_mb")
        if self.grace_seconds > self.max_grace_seconds:
            msg = (
                f"journal.grace_seconds is {self.grace_seconds:g} and may be at most "
                f"journal.max_grace_seconds ({self.max_grace_seconds:g}); change one of them"
            )
            raise ConfigError.at(msg, "journal.grace_seconds")
