"""How answers are kept and shared: the cache, executions in common, the journal."""

from __future__ import annotations

from typing import Annotated, Literal

from gemini_backend.config.about import DAY_SECONDS, Options, about
from gemini_backend.config.errors import ConfigError

_MONTH_SECONDS = 30 * DAY_SECONDS


class CacheOptions(Options, frozen=True):
    """Answers kept for identical requests of the same tenant."""

    mode: Annotated[
        Literal["deterministic", "all", "off"],
        about(
            "What is kept where a request says nothing: answers to requests with temperature 0, "
            "`top_k` 1 or a seed and without tools that look things up; all answers; none at all.",
            live=True,
        ),
    ] = "deterministic"
    max_entries: Annotated[
        int,
        about("Most answers; beyond, the one unused for longest goes.", ge=1, le=10_000_000),
    ] = 10_000
    max_size_mb: Annotated[
        int,
        about(
            "Most memory for answers, in MiB; beyond, the one unused for longest goes.",
            ge=1,
            le=1_048_576,
        ),
    ] = 100
    max_entry_kb: Annotated[
        int,
        about("Largest answer that is kept, in KiB.", live=True, ge=1, le=65_536),
    ] = 1024
    ttl_seconds: Annotated[
        float,
        about(
            "How long an answer is as good as new, unless the request says.",
            live=True,
            gt=0,
            le=_MONTH_SECONDS,
        ),
    ] = 3600.0
    max_ttl_seconds: Annotated[
        float,
        about("Longest time that a request may ask for.", live=True, gt=0, le=_MONTH_SECONDS),
    ] = DAY_SECONDS
    stale_if_error_seconds: Annotated[
        float,
        about(
            "How long past its time an answer is kept, for when the model fails; 0 for not at all.",
            live=True,
            ge=0,
            le=_MONTH_SECONDS,
        ),
    ] = 3600.0
    allow_stale: Annotated[
        bool,
        about(
            "Whether such an answer will do for requests that do not say so by "
            "`fallback.allow_stale`.",
            live=True,
        ),
    ] = False

    def __post_init__(self) -> None:
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
    """Identical executions under way that share one answer."""

    mode: Annotated[
        Literal["all", "deterministic", "off"],
        about(
            "Which identical requests of one tenant share an answer under way: all; those that "
            "the cache would keep; none. `cache_control` BYPASS always gets an answer of its own.",
            live=True,
        ),
    ] = "all"
    buffer_mb: Annotated[
        int,
        about(
            "Most memory, in MiB, for what one shared answer's slower readers have yet to read; "
            "beyond, nobody may join, and who lags behind the others by more is failed.",
            live=True,
            ge=1,
            le=1024,
        ),
    ] = 4


class JournalOptions(Options, frozen=True):
    """Events kept for a while, so that a lost stream can be resumed."""

    enabled: Annotated[bool, about("Whether events are kept at all.")] = True
    keep_seconds: Annotated[
        float,
        about(
            "How long the events of an execution that has ended are kept.",
            live=True,
            gt=0,
            le=DAY_SECONDS,
        ),
    ] = 300.0
    max_executions: Annotated[
        int,
        about("Most executions kept; beyond, the one that ended first goes.", ge=1, le=1_000_000),
    ] = 10_000
    max_size_mb: Annotated[
        int,
        about(
            "Most memory for events, in MiB; beyond, the execution that ended first goes.",
            ge=1,
            le=1_048_576,
        ),
    ] = 64
    max_execution_mb: Annotated[
        int,
        about(
            "Most memory for the events of one execution, in MiB; beyond, its oldest events go.",
            ge=1,
            le=1024,
        ),
    ] = 8
    grace_seconds: Annotated[
        float,
        about(
            "How long an execution with `on_disconnect` KEEP goes on without a reader, unless "
            "the request says.",
            live=True,
            gt=0,
            le=DAY_SECONDS,
        ),
    ] = 60.0
    max_grace_seconds: Annotated[
        float,
        about("Longest such time that a request may ask for.", live=True, gt=0, le=DAY_SECONDS),
    ] = 600.0

    def __post_init__(self) -> None:
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
