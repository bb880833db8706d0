"""Texts into vectors, and answers found by their likeness."""

from __future__ import annotations

from typing import Annotated, Literal

from gemini_backend.config.about import MODEL_PATTERN, Options, about, named

_OR_EMPTY = f"^$|{MODEL_PATTERN}"


class EmbedOptions(Options, frozen=True):
    """Embeddings: combines many small calls into few large ones."""

    model: Annotated[
        str, named("Model of Embed requests that do not name one.", MODEL_PATTERN, live=True)
    ] = "gemini-embedding-001"
    window_ms: Annotated[
        float,
        about(
            "Time for which a call waits to be combined with others, in milliseconds; 0 disables "
            "waiting.",
            live=True,
            ge=0,
            le=1000,
        ),
    ] = 3.0
    max_batch: Annotated[
        int,
        about(
            "Maximum number of contents per upstream call; larger requests are split.",
            live=True,
            ge=1,
            le=100,
        ),
    ] = 100


class SemanticCacheOptions(Options, frozen=True):
    """Semantic cache: answers to requests of nearly the same meaning; disabled by default.

    Everything but the last text is always exactly the same: tenant, namespace, model, system
    instruction, tools, settings, and the conversation before; and in the last text its numbers.
    """

    enabled: Annotated[
        bool, about("Enables the semantic cache; needs the extra `semantic-cache`.")
    ] = False
    threshold: Annotated[
        float,
        about(
            "Minimum similarity of the last texts of two requests, as the cosine of their vectors.",
            live=True,
            ge=0.5,
            le=1,
        ),
    ] = 0.95
    embedder: Annotated[
        Literal["upstream", "local"],
        about(
            "Source of the vectors: the model API, or a small model on this machine for texts of "
            "up to 128 bytes, which needs the extra `local-embeddings`."
        ),
    ] = "upstream"
    model: Annotated[
        str,
        named("With `upstream`: embedding model; empty for `embed.model`.", _OR_EMPTY),
    ] = ""
    dimensions: Annotated[
        int,
        about("With `upstream`: length of the vectors; those of `local` have 512.", ge=16, le=3072),
    ] = 256
    timeout_ms: Annotated[
        float,
        about(
            "Timeout for computing a vector, in milliseconds; after it the request proceeds "
            "without the semantic cache.",
            live=True,
            gt=0,
            le=60_000,
        ),
    ] = 300.0
    max_entries: Annotated[
        int,
        about("Maximum number of entries; beyond it the oldest one is evicted.", ge=1, le=200_000),
    ] = 10_000
