"""Defaults and limits of executions."""

from __future__ import annotations

from typing import Annotated

from gemini_backend.config.about import DAY_SECONDS, MODEL_PATTERN, Options, about, named
from gemini_backend.config.errors import ConfigError


class ExecutionOptions(Options, frozen=True):
    """What a request gets where it says nothing, and what it may ask for at most."""

    default_model: Annotated[
        str, named("Model of requests that name none.", MODEL_PATTERN, live=True)
    ] = "gemini-flash-latest"
    default_deadline_seconds: Annotated[
        float, about("Deadline of calls that have none.", live=True, gt=0, le=DAY_SECONDS)
    ] = 300.0
    max_deadline_seconds: Annotated[
        float,
        about(
            "Longest deadline; longer ones are shortened to it.", live=True, gt=0, le=DAY_SECONDS
        ),
    ] = 3600.0
    min_deadline_ms: Annotated[
        int,
        about(
            "Time, in milliseconds, without which a call is refused at once.",
            live=True,
            ge=0,
            le=60_000,
        ),
    ] = 1
    first_token_timeout_seconds: Annotated[
        float,
        about(
            "Longest wait for the first token; 0 for as long as the deadline allows.",
            live=True,
            ge=0,
            le=DAY_SECONDS,
        ),
    ] = 120.0
    idle_timeout_seconds: Annotated[
        float,
        about(
            "Longest silence between two events of a stream; 0 for as long as the deadline allows.",
            live=True,
            ge=0,
            le=DAY_SECONDS,
        ),
    ] = 60.0
    batch_concurrency: Annotated[
        int,
        about(
            "Items of a BatchExecute that run at once, where the request does not say; identical "
            "items count as one.",
            live=True,
            ge=1,
            le=1000,
        ),
    ] = 16
    max_event_bytes: Annotated[
        int,
        about(
            "Most bytes of one event of a stream, for requests that do not say; blobs and texts "
            "that do not fit come in several events. The default fits a client with gRPC's own "
            "limit of 4 MiB for a message.",
            live=True,
            ge=65_536,
            le=1_073_741_824,
        ),
    ] = 4_000_000
    max_continuations: Annotated[
        int,
        about(
            "Most further requests for one answer that Gemini breaks off with CONTINUATION; beyond "
            "them it ends with the token to go on with. The longest answer of Gemini 4 takes 15.",
            live=True,
            ge=0,
            le=1000,
        ),
    ] = 32
    merge_deltas: Annotated[
        bool,
        about(
            "Whether text deltas that arrive in one read become one message; costs less, "
            "changes no text.",
            live=True,
        ),
    ] = True

    def __post_init__(self) -> None:
        """Refuse deadlines at odds with each other.

        Raises:
            ConfigError: they are.
        """
        low, default, high = (
            self.min_deadline_ms / 1000,
            self.default_deadline_seconds,
            self.max_deadline_seconds,
        )
        if not low <= default <= high:
            msg = (
                f"execution.default_deadline_seconds is {default:g} and must lie between "
                f"execution.min_deadline_ms ({low * 1000:g} ms) and "
                f"execution.max_deadline_seconds ({high:g} s); change one of them"
            )
            raise ConfigError.at(msg, "execution.default_deadline_seconds")
