"""Texts into vectors, and answers found by their likeness."""

from __future__ import annotations

from typing import Annotated, Literal

from gemini_backend.config.about import MODEL_PATTERN, Options, about, named

_OR_EMPTY = f"^$|{MODEL_PATTERN}"


class EmbedOptions(Options, frozen=True):
    """Embeddings: many small calls are gathered into few large ones."""

    model: Annotated[
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


class SemanticCacheOptions(Options, frozen=True):
    """Answers to requests that mean nearly the same; off unless asked for.

    Everything but the last text is always exactly the same: tenant, namespace, model, system
    instruction, tools, settings, and the conversation before; and in the last text its numbers.
    """

    enabled: Annotated[
        bool, about("Whether it is looked for them; needs the extra `semantic-cache`.")
    ] = False
    threshold: Annotated[
        float,
        about(
            "How alike the last texts of two requests must be, as the cosine of their vectors.",
            live=True,
            ge=0.5,
            le=1,
        ),
    ] = 0.95
    embedder: Annotated[
        Literal["upstream", "local"],
        about(
            "What makes the vectors: the model API, or a small model on this machine, for texts of "
            "up to 128 bytes; that needs the extra `local-embeddings`."
        ),
    ] = "upstream"
    model: Annotated[
        str,
        named("With `upstream`: model that makes them; empty for `embed.model`.", _OR_EMPTY),
    ] = ""
    dimensions: Annotated[
        int,
        about("With `upstream`: length of the vectors; those of `local` have 512.", ge=16, le=3072),
    ] = 256
    timeout_ms: Annotated[
        float,
        about(
            "Longest wait for a vector, in milliseconds; beyond it the request goes on without.",
            live=True,
            gt=0,
            le=60_000,
        ),
    ] = 300.0
    max_entries: Annotated[
        int,
        about("Most answers that can be found so; beyond, the oldest goes.", ge=1, le=200_000),
    ] = 10_000
