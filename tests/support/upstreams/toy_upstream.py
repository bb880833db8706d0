"""A second upstream, as small as one can be: it reverses prompts, counts words, embeds letters.

It takes no keys and opens no connection. A server with it runs in the test's own process, put
together by `app.Backend` as in production.
"""

from __future__ import annotations

import io
import logging
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.app import Backend
from gemini_backend.call import AttemptRecord
from gemini_backend.config import read
from gemini_backend.errors import UpstreamUnavailable
from gemini_backend.telemetry.events import attempt_finished
from gemini_backend.telemetry.logs.log_writer import LogWriter
from gemini_backend.upstream.base import Provider, UpstreamFacts, UpstreamModel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from gemini_backend.call import Call
    from gemini_backend.clock import Clock
    from gemini_backend.config import Config
    from gemini_backend.telemetry.events import Publisher
    from gemini_backend.upstream.base import EmbedBatch, Upstream, UpstreamKeys

MODEL = "models/toy-1"
METHODS = ("generateContent", "countTokens", "embedContent")
LETTERS = "abcdefghijklmnopqrstuvwxyz"
STOP = content.FINISH_REASON_STOP


class ToyTired(UpstreamUnavailable):
    """A failure of this upstream's own."""


class ToyUpstream:
    """An upstream without a network.

    `tired` is how many of the next executions fail; `merge` is the one live setting that it takes.
    """

    def __init__(self, clock: Clock, bus: Publisher) -> None:
        """Be awake."""
        self._bus = bus
        self._clock = clock
        self.tired = 0
        self.merge = True
        self.closed = False

    def objection(self, model: str) -> str:
        return "" if model.startswith("models/toy-") else "is no toy; write models/toy-1"

    async def stream(
        self, call: Call, request: pb.ExecuteRequest
    ) -> AsyncIterator[pb.ExecuteResponse]:
        words = self._answer(call, request).split(" ")
        pieces = [" ".join(words)] if self.merge else [words[0], *(f" {w}" for w in words[1:])]
        usage = _usage(request.prompt, words)
        yield pb.ExecuteResponse(started=pb.Started(model=request.model, model_version="toy-1.0"))
        for piece in pieces:
            parts = [content.Part(text=piece)]
            yield pb.ExecuteResponse(delta=pb.Delta(parts=parts, role="model"))
        yield pb.ExecuteResponse(completed=pb.Completed(finish_reason=STOP, usage=usage))

    async def process(self, call: Call, request: pb.ExecuteRequest) -> pb.ProcessResponse:
        text = self._answer(call, request)
        turn = content.Content(role="model", parts=[content.Part(text=text)])
        return pb.ProcessResponse(
            started=pb.Started(model=request.model, model_version="toy-1.0"),
            candidates=[content.Candidate(content=turn, finish_reason=STOP)],
            usage=_usage(request.prompt, text.split()),
        )

    async def count_tokens(
        self, _call: Call, request: pb.CountTokensRequest
    ) -> pb.CountTokensResponse:
        return pb.CountTokensResponse(
            total_tokens=len(request.prompt.split()),
            method=pb.TOKEN_COUNT_METHOD_UPSTREAM,
            model=request.model,
        )

    async def embed(self, _call: Call, batch: EmbedBatch) -> pb.EmbedResponse:
        response = pb.EmbedResponse(model=batch.model)
        for one in batch.contents:
            counts = Counter("".join(part.text for part in one.parts).lower())
            response.embeddings.add(values=[counts[letter] for letter in LETTERS])
        return response

    async def models(self, _timeout_seconds: float) -> list[UpstreamModel]:
        return [UpstreamModel(MODEL, display_name="Toy", supported_methods=METHODS)]

    def connections(self) -> int:
        return 0

    def reconfigure(self, config: Config) -> None:
        self.merge = config.execution.merge_deltas

    async def aclose(self) -> None:
        self.closed = True

    def _answer(self, call: Call, request: pb.ExecuteRequest) -> str:
        """Return the whole answer, and record the attempt as upstreams do."""
        record = AttemptRecord(model=request.model, started=self._clock.now())
        call.outcome.attempts.append(record)
        record.ended = self._clock.now()
        if self.tired:
            self.tired -= 1
            record.error = ToyTired("the toy is tired; let it rest")
        self._bus.publish(attempt_finished(call, record))
        if record.error is not None:
            raise record.error
        return request.prompt[::-1]


def _usage(prompt: str, words: list[str]) -> content.Usage:
    asked, answered = len(prompt.split()), len(words)
    return content.Usage(
        prompt_token_count=asked,
        candidates_token_count=answered,
        total_token_count=asked + answered,
    )


class Toy:
    """The toy as it is configured, and the upstream once it is made; counts how it was ended."""

    def __init__(self) -> None:
        """Be made of nothing yet."""
        self.upstream: ToyUpstream | None = None
        self.ended = 0
        facts = UpstreamFacts("toy", "toy://here", "v0", max_connections=3)
        self.provider = Provider(facts, self._connect, aclose=self._end)

    @property
    def made(self) -> ToyUpstream:
        assert self.upstream is not None
        return self.upstream

    def _connect(self, clock: Clock, _keys: UpstreamKeys, bus: Publisher, /) -> Upstream:
        self.upstream = ToyUpstream(clock, bus)
        return self.upstream

    async def _end(self) -> None:
        self.ended += 1


@asynccontextmanager
async def toy_server(state: Path, **settings: str) -> AsyncIterator[tuple[Toy, Any]]:
    """Run the server with a toy of its own; yield the toy and a channel to the server."""
    environ = {
        "GEMINI_BACKEND_SERVER__LISTEN": "127.0.0.1:0",
        "GEMINI_BACKEND_WEB__ENABLED": "false",
        "GEMINI_BACKEND_STATE__DIR": str(state),
        "GEMINI_BACKEND_EXECUTION__DEFAULT_MODEL": "toy-1",
        "GEMINI_BACKEND_EMBED__MODEL": "toy-1",
        "GEMINI_BACKEND_RETRY__INITIAL_DELAY_MS": "0",
        "GEMINI_BACKEND_CACHE__MODE": "off",
        **{f"GEMINI_BACKEND_{name}": value for name, value in settings.items()},
    }
    toy, root = Toy(), logging.getLogger()
    level = root.level
    backend = Backend(read(None, environ), {}, LogWriter(io.StringIO()), toy.provider)
    try:
        ready = await backend.start()
        async with grpc.aio.insecure_channel(str(ready.grpc)) as channel:
            yield toy, channel
    finally:
        await backend.aclose()
        root.setLevel(level)  # the server sets it as configured
