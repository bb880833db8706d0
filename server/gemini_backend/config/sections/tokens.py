"""Counting tokens before a request is sent."""

from __future__ import annotations

from typing import Annotated, Literal

from gemini_backend.config.about import Options, about


class TokensOptions(Options, frozen=True):
    """Token counting, and the handling of requests that are too long."""

    vocabulary_file: Annotated[
        str,
        about(
            "File with Gemma 3's vocabulary, as downloaded by `gemini-backend tokenizer fetch`; "
            "by default in `$XDG_CACHE_HOME/gemini-backend`, or else `~/.cache/gemini-backend`. "
            "Without it tokens are estimated."
        ),
    ] = "~/.cache/gemini-backend/gemma3-tokenizer.json"
    counting: Annotated[
        Literal["upstream", "prefer_upstream", "offline"],
        about(
            "Token counter used when a CountTokens request does not specify one: the model API; "
            "the model API, or this server while the model API cannot be reached; this server.",
            live=True,
        ),
    ] = "prefer_upstream"
    check_limits: Annotated[
        bool,
        about(
            "Refuses a request that certainly exceeds its model's token limit before it is sent.",
            live=True,
        ),
    ] = True
    upstream_timeout_seconds: Annotated[
        float,
        about(
            "With `prefer_upstream`: timeout for a count by the model API.",
            live=True,
            gt=0,
            le=600,
        ),
    ] = 10.0
    count_timeout_seconds: Annotated[
        float,
        about(
            "Timeout for a count by this server, including the time to read the vocabulary; after "
            "it tokens are estimated.",
            live=True,
            gt=0,
            le=600,
        ),
    ] = 30.0
    idle_seconds: Annotated[
        float,
        about(
            "Idle time after which the counting process, about 330 MB, is stopped.",
            live=True,
            gt=0,
            le=86_400,
        ),
    ] = 600.0
