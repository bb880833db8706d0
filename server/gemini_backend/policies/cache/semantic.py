"""A request that means nearly the same as an earlier one gets that one's answer."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

from gemini.backend.v1 import content_pb2
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.errors import ServiceError
from gemini_backend.policies.cache.key import concerns, sliced_answer_key
from gemini_backend.policies.cache.lookup import is_fresh
from gemini_backend.policies.cache.replay import Replay
from gemini_backend.policies.event_stream import Watch
from gemini_backend.policies.relay import watched
from gemini_backend.policies.wrapper import Wrapper
from gemini_backend.telemetry.events import SILENT, CacheLookedUp

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from gemini_backend.call import Call
    from gemini_backend.clock import Clock
    from gemini_backend.config.sections.answers import CacheOptions
    from gemini_backend.config.sections.embed import SemanticCacheOptions
    from gemini_backend.policies.event_stream import EventStream
    from gemini_backend.policies.wrapper import Opens, Whole
    from gemini_backend.stores.answer_store import AnswerStore, StoredAnswer
    from gemini_backend.stores.vectors import Vectors
    from gemini_backend.telemetry.events import Publisher

    Embed = Callable[[Call, str], Awaitable[Sequence[float] | None]]

_WITH_DIGITS = re.compile(r"\w*\d\w*")
_REFRESH = pb.CACHE_MODE_REFRESH


class SemanticCache(Wrapper):
    """Looks for an answer to a request that differs in its last text only, and only a little.

    Everything else is part of the partition, exactly: tenant and namespace, the served model, the
    system instruction, tools, settings, all earlier turns, and numbers in the last text. Requests
    whose last turn is not plain text of the user's are not concerned, nor is what the exact cache
    has nothing to do with. Answers stay in the exact cache; here are only the vectors, and what
    they lead to. A vector that cannot be had in time is done without.
    """

    def __init__(
        self,
        options: Callable[[], SemanticCacheOptions],
        cache_options: Callable[[], CacheOptions],
        store: AnswerStore,
        vectors: Vectors,
        embed: Embed,
        *,
        clock: Clock,
        bus: Publisher = SILENT,
    ) -> None:
        """Find answers of `store` by `vectors`, which `embed` makes of a text, or None."""
        self._options = options
        self._cache_options = cache_options
        self._store = store
        self._vectors = vectors
        self._embed = embed
        self._clock = clock
        self._bus = bus
        self._replay = Replay(clock, bus, "semantic")
        self.stores = 0

    def unary(self, call: Call, request: Any, proceed: Whole, /) -> Awaitable[Any]:
        """Answer out of the store, or go on."""
        text = self._compared(request)
        return self._unary(call, request, proceed, text) if text else proceed(call, request)

    async def _unary(self, call: Call, request: Any, proceed: Whole, text: str) -> Any:
        look = await self._look(call, request, text)
        if look is not None and look.answer is not None:
            return self._replay.whole(call, look.answer, look.tell)
        response = await proceed(call, request)
        if look is not None:
            await self.learn(call, request, look)
        return response

    def stream(self, call: Call, request: Any, proceed: Opens, /) -> Awaitable[EventStream]:
        """Answer out of the store, or go on."""
        text = self._compared(request)
        return self._stream(call, request, proceed, text) if text else proceed(call, request)

    async def _stream(self, call: Call, request: Any, proceed: Opens, text: str) -> EventStream:
        look = await self._look(call, request, text)
        if look is not None and look.answer is not None:
            return await self._replay.open(call, request, look.answer, look.tell)
        events = await proceed(call, request)
        if look is not None:
            waiting = watched(events, [_Learning(self, call, request, look)])
            if waiting is not None:
                await waiting
        return events

    def _compared(self, request: Any) -> str:
        """Return the text that is compared; empty where the request is not concerned."""
        if request.session or not concerns(self._cache_options(), request):
            return ""
        if request.continuation_token:  # the rest of one answer is the rest of no other
            return ""
        return _last_text(request)

    async def _look(self, call: Call, request: Any, text: str) -> _Look | None:
        """Return what was found; None where the text has no vector."""
        vector = await self._vector(call, text)
        if vector is None:
            return None
        partition = await sliced_answer_key(call, _partition(request, text), self._clock)
        look = _Look(partition, vector)
        if request.cache_control.mode == _REFRESH:
            return look
        threshold = self._options().threshold
        near = await self._vectors.nearest(look.partition, vector, threshold)
        if near is not None:
            key, look.similarity = near
            answer = await self._store.get(key)
            if answer is not None and is_fresh(answer, request, self._clock.now()):
                look.answer = answer
        result: Literal["hit", "miss"] = "miss" if look.answer is None else "hit"
        self._bus.publish(CacheLookedUp(call.execution, "semantic", result))
        return look

    async def _vector(self, call: Call, text: str) -> Sequence[float] | None:
        vector = None
        with suppress(TimeoutError, ServiceError):
            async with self._clock.timeout(self._options().timeout_ms / 1000):
                vector = await self._embed(call, text)
        if vector is None:
            self._bus.publish(CacheLookedUp(call.execution, "semantic", "bypass"))
        return vector

    async def learn(self, call: Call, request: Any, look: _Look) -> None:
        """Remember by its vector an answer that was good enough to be kept."""
        key = await sliced_answer_key(call, request, self._clock)
        if await self._store.get(key) is not None:
            self._vectors.add(look.partition, look.vector, key)
            self.stores += 1

    @property
    def vectors(self) -> Vectors:
        """What is kept to find answers by."""
        return self._vectors

    def __repr__(self) -> str:
        """Name the policy and its options."""
        options = self._options()
        return f"SemanticCache(threshold={options.threshold:g}, {len(self._vectors)} vectors)"


class _Look:
    """What a look gave: the vector, and an answer where one is near enough."""

    __slots__ = ("answer", "partition", "similarity", "vector")

    def __init__(self, partition: bytes, vector: Sequence[float]) -> None:
        self.partition = partition
        self.vector = vector
        self.similarity = 0.0
        self.answer: StoredAnswer | None = None

    def tell(self, started: pb.Started) -> None:
        started.cache_status = pb.CACHE_STATUS_SEMANTIC_HIT
        started.cache_similarity = self.similarity


class _Learning(Watch):
    """Has an answer remembered before its last event is handed on."""

    __slots__ = ("_call", "_look", "_request", "_semantic")

    def __init__(self, semantic: SemanticCache, call: Call, request: Any, look: _Look) -> None:
        self._semantic = semantic
        self._call = call
        self._request = request
        self._look = look

    def event(self, event: Any, delta: pb.Delta | None, /) -> Awaitable[None] | None:
        if delta is not None or not event.HasField("completed"):
            return None
        return self._semantic.learn(self._call, self._request, self._look)


def _last_text(request: Any) -> str:
    """Return the last turn's text; empty where it is anything but plain text of the user's."""
    if request.prompt:
        return str(request.prompt)
    if not request.contents:
        return ""
    last = request.contents[-1]
    plain = all({field.name for field, _ in part.ListFields()} == {"text"} for part in last.parts)
    other = {field.name for field, _ in last.ListFields()} - {"role", "parts"}
    if not plain or other or last.role not in {"", "user"}:
        return ""
    return "".join(part.text for part in last.parts)


def _partition(request: pb.ExecuteRequest, text: str) -> pb.ExecuteRequest:
    """Return everything that must be the same.

    That is all but the last text, and of that its words with digits in them, in their order: a
    number, a date or an order's number is not a manner of speaking, and vectors hardly tell two of
    them apart.
    """
    rest = pb.ExecuteRequest()
    rest.CopyFrom(request)
    if rest.prompt:
        rest.ClearField("prompt")
    else:
        del rest.contents[-1]
    numbers = " ".join(_WITH_DIGITS.findall(text))
    rest.contents.append(content_pb2.Content(role="user", parts=[content_pb2.Part(text=numbers)]))
    return rest
