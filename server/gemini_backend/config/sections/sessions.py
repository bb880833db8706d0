"""Conversations that the server remembers."""

from __future__ import annotations

from typing import Annotated, Literal

from gemini_backend.config.about import DAY_SECONDS, Options, about

_TEN_YEARS_SECONDS = 3650 * DAY_SECONDS


class SessionsOptions(Options, frozen=True):
    """Where sessions are kept, for how long, and how much they may hold."""

    store: Annotated[
        Literal["sqlite", "memory"],
        about("A file below `state.dir`; or memory, forgotten when the server ends."),
    ] = "sqlite"
    durability: Annotated[
        Literal["process", "power"],
        about(
            "What a turn that was told as completed outlives: the end of this process, however it "
            "comes; or a loss of power too, for which each turn waits for the disk."
        ),
    ] = "process"
    ttl_seconds: Annotated[
        float,
        about(
            "How long a session lives after its latest turn, unless it says; 0 for ever.",
            live=True,
            ge=0,
            le=_TEN_YEARS_SECONDS,
        ),
    ] = 30 * DAY_SECONDS
    max_sessions: Annotated[
        int,
        about(
            "Most sessions of one tenant; further ones are refused.",
            live=True,
            ge=1,
            le=100_000_000,
        ),
    ] = 100_000
    max_turns: Annotated[
        int,
        about("Most turns of one session; further ones are refused.", live=True, ge=1, le=100_000),
    ] = 10_000
    max_session_mb: Annotated[
        int,
        about(
            "Most that one session may hold, in MiB; further turns are refused.",
            live=True,
            ge=1,
            le=1024,
        ),
    ] = 32
    concurrency: Annotated[
        Literal["queue", "refuse"],
        about(
            "What happens to a second turn at once, unless the session says: it waits, or it is "
            "refused with ABORTED.",
            live=True,
        ),
    ] = "queue"
    max_waiting: Annotated[
        int,
        about(
            "Most turns that wait for one session; further ones are refused.",
            live=True,
            ge=0,
            le=10_000,
        ),
    ] = 16
    overflow: Annotated[
        Literal["drop_oldest", "summarize", "refuse"],
        about(
            "What happens beyond the model's context, unless the session says: the oldest turns "
            "are left out; the model sums them up; the turn is refused.",
            live=True,
        ),
    ] = "drop_oldest"
    summary_tokens: Annotated[
        int,
        about("Longest summary, in tokens.", live=True, ge=64, le=65_536),
    ] = 1024
    sweep_seconds: Annotated[
        float,
        about(
            "How often sessions that have expired are deleted; none is served from the moment "
            "on at which it expires.",
            live=True,
            ge=1,
            le=DAY_SECONDS,
        ),
    ] = 60.0
