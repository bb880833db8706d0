"""Conversations that the server remembers."""

from __future__ import annotations

from typing import Annotated, Literal

from gemini_backend.config.about import DAY_SECONDS, Options, about

_TEN_YEARS_SECONDS = 3650 * DAY_SECONDS


class SessionsOptions(Options, frozen=True):
    """Storage, retention and size limits of sessions."""

    store: Annotated[
        Literal["sqlite", "memory"],
        about("Session store: a file below `state.dir`; or memory, lost when the server stops."),
    ] = "sqlite"
    durability: Annotated[
        Literal["process", "power"],
        about(
            "Durability of a turn reported as completed: `process` survives any end of this "
            "process; `power` also survives a loss of power, for which each turn waits for the "
            "disk."
        ),
    ] = "process"
    ttl_seconds: Annotated[
        float,
        about(
            "Time to live of a session after its latest turn, unless the session specifies it; 0 "
            "for no limit.",
            live=True,
            ge=0,
            le=_TEN_YEARS_SECONDS,
        ),
    ] = 30 * DAY_SECONDS
    max_sessions: Annotated[
        int,
        about(
            "Maximum number of sessions per tenant; further ones are refused.",
            live=True,
            ge=1,
            le=100_000_000,
        ),
    ] = 100_000
    max_turns: Annotated[
        int,
        about(
            "Maximum number of turns per session; further ones are refused.",
            live=True,
            ge=1,
            le=100_000,
        ),
    ] = 10_000
    max_session_mb: Annotated[
        int,
        about(
            "Maximum size of a session, in MiB; further turns are refused.",
            live=True,
            ge=1,
            le=1024,
        ),
    ] = 32
    concurrency: Annotated[
        Literal["queue", "refuse"],
        about(
            "Handling of concurrent turns, unless the session specifies it: the second turn "
            "waits, or is refused with ABORTED.",
            live=True,
        ),
    ] = "queue"
    max_waiting: Annotated[
        int,
        about(
            "Maximum number of turns waiting for one session; further ones are refused.",
            live=True,
            ge=0,
            le=10_000,
        ),
    ] = 16
    overflow: Annotated[
        Literal["drop_oldest", "summarize", "refuse"],
        about(
            "Handling of turns beyond the model's context, unless the session specifies it: the "
            "oldest turns are omitted; the model summarizes them; the turn is refused.",
            live=True,
        ),
    ] = "drop_oldest"
    summary_tokens: Annotated[
        int,
        about("Maximum length of a summary, in tokens.", live=True, ge=64, le=65_536),
    ] = 1024
    sweep_seconds: Annotated[
        float,
        about(
            "Interval at which expired sessions are deleted; an expired session is never served.",
            live=True,
            ge=1,
            le=DAY_SECONDS,
        ),
    ] = 60.0
