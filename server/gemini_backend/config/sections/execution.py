"""Defaults and limits of executions."""

from __future__ import annotations

from typing import Annotated

from gemini_backend.config.about import DAY_SECONDS, MODEL_PATTERN, Options, about, named
from gemini_backend.config.errors import ConfigError


class ExecutionOptions(Options, frozen=True):
    """Defaults and limits of executions."""

    default_model: Annotated[
        str, named("Model of requests that do not name one.", MODEL_PATTERN, live=True)
    ] = "gemini-flash-latest"
    default_deadline_seconds: Annotated[
        float, about("Deadline of calls that have none.", live=True, gt=0, le=DAY_SECONDS)
    ] = 300.0
    max_deadline_seconds: Annotated[
        float,
        about("Maximum deadline; longer ones are reduced to it.", live=True, gt=0, le=DAY_SECONDS),
    ] = 3600.0
    min_deadline_ms: Annotated[
        int,
        about(
            "Minimum time left before the deadline, in milliseconds; a call with less is refused.",
            live=True,
            ge=0,
            le=60_000,
        ),
    ] = 1
    first_token_timeout_seconds: Annotated[
        float,
        about(
            "Timeout for the first token; 0 for no limit except the deadline.",
            live=True,
            ge=0,
            le=DAY_SECONDS,
        ),
    ] = 120.0
    idle_timeout_seconds: Annotated[
        float,
        about(
            "Maximum time between two events of a stream; 0 for no limit except the deadline.",
            live=True,
            ge=0,
            le=DAY_SECONDS,
        ),
    ] = 60.0
    batch_concurrency: Annotated[
        int,
        about(
            "Number of items of a BatchExecute that run concurrently, unless the request "
            "specifies it; identical items count as one.",
            live=True,
            ge=1,
            le=1000,
        ),
    ] = 16
    max_event_bytes: Annotated[
        int,
        about(
            "Maximum size of a stream event in bytes, unless the request specifies it; blobs and "
            "texts that do not fit are split over several events. The default fits a client with "
            "gRPC's default limit of 4 MiB per message.",
            live=True,
            ge=65_536,
            le=1_073_741_824,
        ),
    ] = 4_000_000
    max_continuations: Annotated[
        int,
        about(
            "Maximum number of further requests for one answer that Gemini interrupts with "
            "CONTINUATION; beyond it the answer ends with the token with which to continue. The "
            "longest answer of Gemini 4 takes 15.",
            live=True,
            ge=0,
            le=1000,
        ),
    ] = 32
    remember_seconds: Annotated[
        float,
        about(
            "Time for which an execution that has ended can be read by GetExecution.",
            live=True,
            gt=0,
            le=30 * DAY_SECONDS,
        ),
    ] = 3600.0
    max_remembered: Annotated[
        int,
        about(
            "Maximum number of executions that have ended and are remembered; beyond it a "
            "principal with more than an equal share loses one: first one that was refused before "
            "the model was asked, then the one that ended first. 0: none is remembered.",
            live=True,
            ge=0,
            le=100_000,
        ),
    ] = 10_000
    max_remembered_mb: Annotated[
        int,
        about(
            "Maximum memory for them, in MiB; beyond it they are forgotten in the same order.",
            live=True,
            ge=1,
            le=4096,
        ),
    ] = 32
    merge_deltas: Annotated[
        bool,
        about(
            "Merges text deltas that arrive in one read into one message; reduces CPU time and "
            "does not change the text.",
            live=True,
        ),
    ] = True

    def _check(self) -> None:
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
