"""Gemini as an upstream: streams, whole answers, counts of tokens, models."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gemini_backend.call import KEY
from gemini_backend.durations import seconds_of
from gemini_backend.errors import (
    IdleTimeout,
    ServiceError,
    UpstreamTimedOut,
    masked,
)
from gemini_backend.memory import HELD
from gemini_backend.telemetry.events import SILENT
from gemini_backend.upstream.gemini.answer import in_turns, service_tier, unary_answer
from gemini_backend.upstream.gemini.answer.stream_answer import AnswerStream
from gemini_backend.upstream.gemini.attempts import Attempt, KeyInUse
from gemini_backend.upstream.gemini.body.sse import EventReader
from gemini_backend.upstream.gemini.connection.end_of_body import EndOfBody
from gemini_backend.upstream.gemini.connection.replies import check, is_plain
from gemini_backend.upstream.gemini.connection.transports import transport_of
from gemini_backend.upstream.gemini.failure.classification import Failures
from gemini_backend.upstream.gemini.key_trial import KeyTrial
from gemini_backend.upstream.gemini.keys import KeysInTurn, known_keys
from gemini_backend.upstream.gemini.requests import (
    addresses,
    embeddings,
    generate,
    sliced_body,
)
from gemini_backend.upstream.gemini.requests.listing import Listing
from gemini_backend.upstream.gemini.requests.rounding import warnings_of
from gemini_backend.upstream.gemini.settings import live_options
from gemini_backend.upstream.gemini.streamed_answer import Begun, StreamedAnswer
from gemini_backend.upstream.keys import KeySet

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from yarl import URL

    from gemini.backend.v1 import execute_service_pb2 as pb
    from gemini_backend.call import Call, UpstreamKey
    from gemini_backend.clock import Clock
    from gemini_backend.config import Config
    from gemini_backend.telemetry.events import Publisher
    from gemini_backend.upstream.base import EmbedBatch, UpstreamKeys, UpstreamModel
    from gemini_backend.upstream.gemini.connection.exchange import Exchange
    from gemini_backend.upstream.gemini.options import GeminiOptions

_TRIAL_SECONDS = 5.0
_STREAM = "streamGenerateContent?alt=sse"


class GeminiUpstream:
    """Google's Gemini API over REST and server-sent events."""

    def __init__(
        self,
        options: GeminiOptions,
        clock: Clock,
        *,
        key_pool: UpstreamKeys | None = None,
        keys: KeySet | None = None,
        bus: Publisher = SILENT,
    ) -> None:
        """Prepare; the first connection is made with the first call.

        Args:
            options: How Gemini is reached.
            clock: Times the attempts.
            key_pool: Picks the keys of calls that come with none. Default: each key in its turn.
            keys: Knows the keys' texts. Default: those of the options.
            bus: Where the end of each attempt is published, and each connection that is closed
                for what came on it unasked.
        """
        self.options = options
        self._clock = clock
        self._bus = bus
        self._transport = transport_of(options, bus)
        self._keys = KeySet(known_keys(options.api_keys)) if keys is None else keys
        self._key_pool = KeysInTurn(self._keys) if key_pool is None else key_pool
        self._listed: tuple[str, ...] = ()
        self._failures = Failures(lambda: self._listed)
        self._trial = KeyTrial(self._try_key, clock)

    def objection(self, model: str) -> str:
        """Return why it can have no model of such a name, in words; empty where it may."""
        return addresses.objection(model)

    def stream(self, call: Call, request: pb.ExecuteRequest) -> StreamedAnswer:
        """Return the events of an answer; see `upstream.base.Upstream`."""
        return StreamedAnswer(lambda: self._begin_stream(call, request))

    async def _begin_stream(self, call: Call, request: pb.ExecuteRequest) -> Begun:
        """Ask for a streamed answer, and return what reads it when its head is there.

        Raises:
            ServiceError: there is none.
        """
        options = self.options
        rounded: list[str] = []
        if call.large:
            body = await self._large_body(call, request, rounded)
        else:
            body = generate.generate(request, rounded)
        model = request.model
        url = self._address(model, _STREAM)
        attempt = self._attempt(call, model)
        try:
            exchange = await self._ask(attempt, url, body)
        except BaseException as error:  # noqa: BLE001 - raised, when the attempt has ended
            raise await attempt.failed(error) from error.__cause__
        answer = AnswerStream(
            model,
            self._failures,
            merge=options.merge_deltas,
            continued=bool(request.continuation_token),
        )
        attempt.tells(answer.used)
        if rounded:
            answer.of_request = warnings_of(request.DESCRIPTOR, rounded)
        end = EndOfBody(exchange, self._clock, self._idle_seconds(request))
        tier = exchange.header(service_tier.HEADER)
        return Begun(attempt, answer, EventReader(options.max_event_bytes), end, tier)

    async def process(self, call: Call, request: pb.ExecuteRequest) -> pb.ProcessResponse:
        """Return the whole answer; see `upstream.base.Upstream`.

        Raises:
            ServiceError: what became of it instead.
        """
        rounded: list[str] = []
        if call.large:
            body = await self._large_body(call, request, rounded)
        else:
            body = generate.generate(request, rounded)
        model = request.model
        url = self._address(model, "generateContent")
        async with self._attempt(call, model) as attempt:
            exchange = await self._ask(attempt, url, body)
            del body  # large ones take more room than the answer
            answer = exchange.at_once(self.options.max_body_bytes)
            if answer is None:
                answer = await self._body(attempt, exchange, request)
            continued = bool(request.continuation_token)
            if len(answer) <= in_turns.LARGE:
                response = unary_answer.response(answer, model, self._failures, continued=continued)
            else:
                response = await asyncio.to_thread(
                    unary_answer.response, answer, model, self._failures, continued=continued
                )
            if rounded:
                response.started.warnings.extend(warnings_of(request.DESCRIPTOR, rounded))
            tier = exchange.header(service_tier.HEADER)
            if tier:
                service_tier.note_tier(response.started, tier)
            attempt.succeeded(*(one.finish_reason for one in response.candidates))
        return response

    async def count_tokens(
        self, call: Call, request: pb.CountTokensRequest
    ) -> pb.CountTokensResponse:
        """Ask the model API to count; see `upstream.base.Upstream`.

        Raises:
            ServiceError: what became of it instead.
        """
        if call.large:
            body = await _converted(sliced_body.count_tokens_body(request, call, self._clock))
        else:
            body = generate.count_tokens(request)
        url = self._address(request.model, "countTokens")
        async with self._attempt(call, request.model, pick=True) as attempt:
            exchange = await self._ask(attempt, url, body)
            del body  # large ones take more room than the answer
            answer = await exchange.body(self.options.max_body_bytes, read=attempt.read)
            response = unary_answer.token_count(answer, request.model, self._failures)
            attempt.succeeded()
        return response

    async def embed(self, call: Call, batch: EmbedBatch) -> pb.EmbedResponse:
        """Return the vectors of a batch; see `upstream.base.Upstream`.

        Raises:
            ServiceError: what became of it instead.
        """
        if call.large:
            body = await _converted(sliced_body.embed_body(batch, call, self._clock))
        else:
            body = embeddings.body(batch)
        url = self._address(batch.model, "batchEmbedContents")
        async with self._attempt(call, batch.model) as attempt:
            exchange = await self._ask(attempt, url, body)
            del body  # large ones take more room than the answer
            answer = await exchange.body(self.options.max_body_bytes, read=attempt.read)
            response = await in_turns.aside(
                answer, embeddings.response, answer, batch, self._failures
            )
            attempt.succeeded()
        return response

    async def models(self, timeout_seconds: float) -> list[UpstreamModel]:
        """Return every model that the API offers, all pages.

        Raises:
            UpstreamTimedOut: it took longer than `timeout_seconds`.
            ServiceError: what else went wrong.
        """
        listing = Listing()
        try:
            async with self._clock.timeout(timeout_seconds):
                while listing.take(
                    await self._page(self._key_pool.peek(), listing.query(), timeout_seconds)
                ):
                    pass
        except TimeoutError:
            msg = f"the model API did not list its models within {timeout_seconds:g} s; retry"
            raise UpstreamTimedOut(msg) from None
        except ServiceError as error:
            masked(error)
            raise
        self._listed = tuple(model.name for model in listing.models)
        return listing.models

    def connections(self) -> int:
        """Return how many connections are in use just now."""
        return self._transport.connections()

    def reconfigure(self, config: Config) -> None:
        """Take over the live settings of a new configuration; see `upstream.base.Upstream`."""
        self.options = live_options(self.options, config)

    async def aclose(self) -> None:
        """End what runs, and close every connection."""
        await self._trial.aclose()
        await self._transport.aclose()

    def _address(self, model: str, verb: str) -> URL:
        return addresses.of_model(self.options.base_url, self.options.api_version, model, verb)

    def _attempt(self, call: Call, model: str, *, pick: bool = False) -> Attempt:
        """Begin an attempt with the key that was picked for it, or with one picked here."""
        chosen = None if pick else KEY.get()
        key = chosen or self._key_pool.take(model)
        text = self._keys.text(key)
        in_use = KeyInUse(self._key_pool, key, text, chosen is None, self._trial)
        return Attempt(call, model, in_use, self._clock, bus=self._bus)

    async def _large_body(
        self, call: Call, request: pb.ExecuteRequest, rounded: list[str]
    ) -> bytes:
        """Return the body of a large request; see `generate.generate`."""
        return await _converted(sliced_body.generate_body(request, call, self._clock, rounded))

    async def _ask(self, attempt: Attempt, url: URL, body: bytes) -> Exchange:
        """Send a call and return its exchange once it is known to hold an answer."""
        options = self.options
        headers = {
            "x-goog-api-key": attempt.key,
            "Content-Type": "application/json",
            "Accept-Encoding": "identity",  # unpacking costs more than the bytes it saves here
        }
        remaining = attempt.remaining()
        if remaining is not None:
            headers["X-Server-Timeout"] = str(max(1, int(remaining)))
        attempt.asked = body
        try:
            exchange = attempt.exchange = await self._transport.send(
                "POST", url, headers, body, options.connect_timeout_seconds
            )
        finally:
            if attempt.call.large:
                _sent()
        if not is_plain(exchange):
            await check(exchange, self._failures, attempt.model, self.options.proxy)
        attempt.asked = b""
        return exchange

    async def _body(
        self, attempt: Attempt, exchange: Exchange, request: pb.ExecuteRequest
    ) -> bytes:
        """Return the body of a whole answer.

        Raises:
            IdleTimeout: it fell silent before its end.
        """
        limit = self._idle_seconds(request)
        try:
            return await exchange.body(
                self.options.max_body_bytes,
                lambda: self._clock.timeout(limit or None),
                attempt.read,
            )
        except TimeoutError:
            raise IdleTimeout(
                f"the model API sent nothing for {limit:g} s within an answer; set a longer "
                "idle_timeout (default execution.idle_timeout_seconds), or retry"
            ) from None

    def _idle_seconds(self, request: pb.ExecuteRequest) -> float:
        """Return the longest silence that a request bears; 0 is no limit."""
        if request.HasField("idle_timeout"):
            return seconds_of(request.idle_timeout)
        return self.options.idle_timeout_seconds

    async def _try_key(self, key: UpstreamKey) -> None:
        """Ask for the shortest list of models, which costs nothing.

        Raises:
            ServiceError: it is refused.
        """
        await self._page(key, {"pageSize": "1"}, _TRIAL_SECONDS)

    async def _page(self, key: UpstreamKey, query: dict[str, str], timeout_seconds: float) -> bytes:
        options = self.options
        headers = {
            "x-goog-api-key": self._keys.text(key),
            "Accept-Encoding": "gzip",
            "X-Server-Timeout": str(max(1, int(timeout_seconds))),
        }
        url = addresses.of_models(options.base_url, options.api_version, query)
        exchange = await self._transport.send(
            "GET", url, headers, None, options.connect_timeout_seconds
        )
        try:
            await check(exchange, self._failures, "", self.options.proxy)
            return await exchange.body(options.max_body_bytes)
        finally:
            exchange.close()


async def _converted(body: Awaitable[bytes]) -> bytes:
    """Return the body of a large request; its room is given back by `_sent`."""
    hold = HELD.get()
    if hold is None:
        return await body
    hold.convert()
    try:
        made = await body
    except BaseException:
        hold.sent()
        raise
    hold.converted(len(made))
    return made


def _sent() -> None:
    hold = HELD.get()
    if hold is not None:
        hold.sent()
