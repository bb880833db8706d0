"""``embedContent`` and ``batchEmbedContents``: vectors that depend on the words alone."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gemini_backend.upstream.simulator import tokens
from gemini_backend.upstream.simulator.aside import aside
from gemini_backend.upstream.simulator.errors import invalid, violation
from gemini_backend.upstream.simulator.exchange import SimulatedExchange, json_response
from gemini_backend.upstream.simulator.requests import decode
from gemini_backend.upstream.simulator.wire import digest

if TYPE_CHECKING:
    from aiohttp import web

    from gemini_backend.upstream.simulator.models import Model
    from gemini_backend.upstream.simulator.wire import Json

MAX_BATCH = 100
_HASHES = 4


async def embed(exchange: SimulatedExchange) -> web.StreamResponse:
    """The vector of one content.

    Raises:
        ApiError: If Gemini would refuse the request.
    """
    model = exchange.models.find(exchange.name, exchange.version, exchange.method)
    request = decode(exchange.body, "EmbedContentRequest")
    vector, used = _embedding(model, request)
    return json_response(exchange.request, {"embedding": vector, "usageMetadata": _usage(used)})


async def embed_batch(exchange: SimulatedExchange) -> web.StreamResponse:
    """The vectors of up to a hundred contents.

    Raises:
        ApiError: If Gemini would refuse the request.
    """
    return json_response(exchange.request, await aside(len(exchange.body), _batch, exchange))


def _batch(exchange: SimulatedExchange) -> Json:
    model = exchange.models.find(exchange.name, exchange.version, exchange.method)
    requests = decode(exchange.body, "BatchEmbedContentsRequest").get("requests", [])
    if not requests:
        raise violation("BatchEmbedContentsRequest.requests", "requests is not specified")
    if len(requests) > MAX_BATCH:
        raise violation(
            "BatchEmbedContentsRequest.requests",
            f"at most {MAX_BATCH} requests can be in one batch",
        )
    for index, request in enumerate(requests):
        named = request.get("model", f"models/{model.name}").removeprefix("models/")
        if named != model.name:
            raise violation(
                f"BatchEmbedContentsRequest.requests[{index}].model",
                "the model in each EmbedContentRequest must match the model in the request",
            )
    made = [_embedding(model, request) for request in requests]
    return {
        "embeddings": [vector for vector, _ in made],
        "usageMetadata": _usage(sum(used for _, used in made)),
    }


def _embedding(model: Model, request: Json) -> tuple[Json, int]:
    parts = request.get("content", {}).get("parts", [])
    if not parts:
        raise violation("EmbedContentRequest.content", "content is empty")
    size = request.get("outputDimensionality", model.dimensions)
    if not 1 <= size <= model.dimensions:
        raise invalid(f"outputDimensionality must be in the range [1, {model.dimensions}].")
    text = " ".join(part.get("text", "") for part in parts)
    used = min(sum(tokens.count_parts(parts).values()) + 1, model.input_limit)
    return {"values": _vector(text, size)}, used


def _usage(used: int) -> Json:
    return {"promptTokenCount": used, "promptTokenDetails": tokens.details({"TEXT": used})}


def _vector(text: str, size: int) -> list[float]:
    """A unit vector; texts that share words are near each other."""
    values = [0.0] * size
    for word in text.lower().split() or [""]:
        raw = digest("word", word)
        for i in range(_HASHES):
            at = int.from_bytes(raw[i * 4 : i * 4 + 4], "big") % size
            values[at] += 1.0 if raw[16 + i] % 2 else -1.0
    # A little of everything, so that no value is exactly zero.
    base = digest("text", text)
    values = [v + (base[i % 32] - 127.5) / 12_800 for i, v in enumerate(values)]
    norm = math.sqrt(sum(v * v for v in values))
    return [round(v / norm, 9) for v in values]
