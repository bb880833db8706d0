"""``generateContent``, ``streamGenerateContent`` and ``countTokens``."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from gemini_backend.upstream.simulator import tokens
from gemini_backend.upstream.simulator.answers.compose import compose
from gemini_backend.upstream.simulator.answers.respond import Responder
from gemini_backend.upstream.simulator.aside import aside
from gemini_backend.upstream.simulator.exchange import (
    VARY,
    SimulatedExchange,
    headers,
    json_response,
)
from gemini_backend.upstream.simulator.faults import Transmission, altered
from gemini_backend.upstream.simulator.requests import (
    WHOLE,
    Ask,
    check_contents,
    decode,
    hop_of,
    prompt_tokens,
    validate,
)
from gemini_backend.upstream.simulator.wire import JSON_TYPE, SSE_TYPE, encode

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from aiohttp import web

    from gemini_backend.upstream.simulator.engines import Engine
    from gemini_backend.upstream.simulator.journal import RequestJournal
    from gemini_backend.upstream.simulator.options import SimulatorOptions
    from gemini_backend.upstream.simulator.resources import Caches, Files
    from gemini_backend.upstream.simulator.wire import Json

# Faults that need the bytes of an answer under their hands, even of one that is no stream.
_ON_BYTES = frozenset({"reset", "cut", "cut_inside", "stall", "garbage", "split", "gzip"})


class Generation:
    """Answers what is asked of a generating model."""

    def __init__(
        self,
        options: SimulatorOptions,
        engine: Engine,
        files: Files,
        caches: Caches,
        journal: RequestJournal,
    ) -> None:
        """Keeps what it needs.

        Args:
            options: Pacing and chunk size.
            engine: What writes the text.
            files: The files that a request may name.
            caches: The cached contents that a request may name.
            journal: What numbers the answers and counts the streams.
        """
        self._options = options
        self._engine = engine
        self._files = files
        self._caches = caches
        self._journal = journal

    async def generate(self, exchange: SimulatedExchange) -> web.StreamResponse:
        """The whole answer at once.

        Raises:
            ApiError: If Gemini would refuse the request.
        """
        ask = await aside(len(exchange.body), self._ask, exchange)
        answer = await anext(altered(self._whole(ask), exchange.faults))
        if not any(fault.fault in _ON_BYTES for fault in exchange.faults):
            return json_response(exchange.request, answer)
        transmission = Transmission(exchange.request, exchange.faults, self._options.pause)
        await transmission.start(headers(JSON_TYPE), VARY)
        await transmission.whole(encode(answer))
        await transmission.response.write_eof()
        return transmission.response

    async def stream(self, exchange: SimulatedExchange) -> web.StreamResponse:
        """The answer chunk by chunk.

        Raises:
            ApiError: If Gemini would refuse the request.
            EndedError: If a fault ends the connection.
        """
        ask = await aside(len(exchange.body), self._ask, exchange)
        transmission = Transmission(
            exchange.request,
            exchange.faults,
            self._options.pause,
            sse=not exchange.wants_array,
            gap=self._options.chunk_delay,
        )
        exchange.transmission = transmission
        head = headers(JSON_TYPE if exchange.wants_array else SSE_TYPE)
        self._journal.streams_open += 1
        try:
            await transmission.start({**head, "Content-Disposition": "attachment"}, VARY)
            async with aclosing(altered(self._chunks(ask), exchange.faults)) as chunks:
                async for chunk in chunks:
                    await transmission.send(chunk)
            await transmission.finish()
        finally:
            self._journal.streams_open -= 1
        return transmission.response

    async def count(self, exchange: SimulatedExchange) -> web.StreamResponse:
        """How many tokens a prompt has.

        Raises:
            ApiError: If Gemini would refuse the request.
        """
        answer = await aside(len(exchange.body), self._count, exchange)
        return json_response(exchange.request, answer)

    def _count(self, exchange: SimulatedExchange) -> Json:
        exchange.models.find(exchange.name, exchange.version, exchange.method)
        request = decode(exchange.body, "CountTokensRequest")
        inner = request.get("generateContentRequest", request)
        check_contents(inner.get("contents", []), "CountTokensRequest")
        totals = prompt_tokens(inner)
        answer: Json = {"totalTokens": sum(totals.values())}
        cached = self._caches.content(inner.get("cachedContent", ""))
        if cached is not None:
            answer["cachedContentTokenCount"] = sum(prompt_tokens(cached).values())
            answer["totalTokens"] += answer["cachedContentTokenCount"]
        answer["promptTokensDetails"] = tokens.details(totals)
        return answer

    def _ask(self, exchange: SimulatedExchange) -> Ask:
        model = exchange.models.find(exchange.name, exchange.version, exchange.method)
        request = decode(exchange.body, "GenerateContentRequest")
        cached = self._caches.content(request.get("cachedContent", ""))
        served_by = exchange.models.serving(model, self._options.now())
        # a model that writes anew each time has no place to go on from
        long_decode = self._options.engine == "echo"
        hop = WHOLE
        if long_decode or request.get("continuationToken"):
            hop = hop_of(model, request, self._options.hop_tokens, exchange.faults)
        ask = Ask.of(model, served_by, request, cached, hop)
        validate(ask)
        self._files.check(ask.contents)
        ask.find_out()
        return ask

    async def _chunks(self, ask: Ask) -> AsyncGenerator[Json, None]:
        responder = Responder(ask, self._journal.total)
        async for piece in compose(ask, self._engine, self._options.chunk_tokens):
            yield responder.chunk(piece)

    async def _whole(self, ask: Ask) -> AsyncGenerator[Json, None]:
        responder = Responder(ask, self._journal.total)
        pieces = [p async for p in compose(ask, self._engine, self._options.chunk_tokens)]
        yield responder.whole(pieces)
