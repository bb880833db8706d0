"""Texts into vectors, and answers found by their likeness."""

from __future__ import annotations

from typing import Annotated

from gemini_backend.config.about import MODEL_PATTERN, Options, about, named


class EmbedOptions(Options, frozen=True):
    """Embeddings: many small calls are gathered into few large ones."""

    default_model: Annotated[
        str, named("Model of Embed requests that name none.", MODEL_PATTERN, live=True)
    ] = "gemini-embedding-001"
    window_ms: Annotated[
        float,
        about(
            "How long a call waits for others to go upstream with it, in milliseconds; 0 for not "
            "at all.",
            live=True,
            ge=0,
            le=1000,
        ),
    ] = 3.0
    max_batch: Annotated[
        int,
        about(
            "Most contents in one call upstream; larger requests are split.",
            live=True,
            ge=1,
            le=100,
        ),
    ] = 100
