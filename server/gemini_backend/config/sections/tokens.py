"""Counting tokens before a request is sent."""

from __future__ import annotations

from typing import Annotated, Literal

from gemini_backend.config.about import Options, about


class TokensOptions(Options, frozen=True):
    """Who counts, by what, and what is done about requests that are too long."""

    vocabulary_file: Annotated[
        str,
        about(
            "Gemma 3's vocabulary, as `gemini-backend tokenizer fetch` fetches it; by default in "
            "`$XDG_CACHE_HOME/gemini-backend`, or else `~/.cache/gemini-backend`. Without it "
            "tokens are estimated."
        ),
    ] = "~/.cache/gemini-backend/gemma3-tokenizer.json"
    counting: Annotated[
        Literal["upstream", "prefer_upstream", "offline"],
        about(
            "Who counts where CountTokens does not say: the model API; the model API, and this "
            "server while that cannot be reached; this server.",
            live=True,
        ),
    ] = "prefer_upstream"
    check_limits: Annotated[
        bool,
        about(
            "Whether a request that certainly has more tokens than its model takes is refused "
            "before it is sent.",
            live=True,
        ),
    ] = True
    upstream_timeout_seconds: Annotated[
        float,
        about(
            "With `prefer_upstream`: how long the model API may take to count.",
            live=True,
            gt=0,
            le=600,
        ),
    ] = 10.0
    count_timeout_seconds: Annotated[
        float,
        about(
            "Longest wait for a count of this server's own, reading the vocabulary included; "
            "beyond it tokens are estimated.",
            live=True,
            gt=0,
            le=600,
        ),
    ] = 30.0
    idle_seconds: Annotated[
        float,
        about(
            "How long the process that counts, about 330 MB, is kept while nothing is counted.",
            live=True,
            gt=0,
            le=86_400,
        ),
    ] = 600.0
