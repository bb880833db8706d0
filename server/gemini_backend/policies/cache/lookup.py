"""An identical request gets the answer that there is already: no attempt, no slot, no cost.

Two policies, because a run may have many callers: `CacheLookup` reads, for each caller, and stands
outside of whatever is shared; `CacheFill` writes, once a run, and stands inside of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeVar

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.durations import seconds_of
from gemini_backend.errors import (
    AnswerBlocked,
    AnswerTooLarge,
    DeadlinePassed,
    NotCached,
    PolicyError,
    PromptBlocked,
    ServiceError,
    UpstreamError,
)
from gemini_backend.policies.cache.key import answer_key, concerns, sliced_answer_key
from gemini_backend.policies.cache.replay import Replay
from gemini_backend.policies.checks import ValidatedCache, sketch_of
from gemini_backend.policies.event_stream import EventStream
from gemini_backend.policies.opening import started_of
from gemini_backend.policies.wrapper import Wrapper
from gemini_backend.telemetry.events import SILENT, CacheLookedUp

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gemini_backend.call import Call
    from gemini_backend.clock import Clock
    from gemini_backend.config.sections.answers import CacheOptions
    from gemini_backend.policies.wrapper import Opens, Whole
    from gemini_backend.stores.answer_store import AnswerStore, StoredAnswer
    from gemini_backend.telemetry.events import Publisher

T = TypeVar("T")
_REFRESH = pb.CACHE_MODE_REFRESH
_ONLY = pb.CACHE_MODE_ONLY_IF_CACHED
# Modes in which a fresh answer is all that is asked for.
_USUAL = frozenset({pb.CACHE_MODE_UNSPECIFIED, pb.CACHE_MODE_DEFAULT, _ONLY})
# Failures that an old answer would not be an answer to.
_NO_STALE = (PromptBlocked, AnswerBlocked, AnswerTooLarge, DeadlinePassed)


class CacheLookup(Wrapper):
    """Answers out of the store what is there and fresh; past its time only where the model fails.

    By `cache_control`: BYPASS does not look, REFRESH does not either but lets the new answer be
    kept, ONLY_IF_CACHED asks nobody else. A hit is `started` (with status and age), one delta a
    candidate, `completed` with the usage that it saved.
    """

    def __init__(
        self,
        options: Callable[[], CacheOptions],
        store: AnswerStore,
        clock: Clock,
        bus: Publisher = SILENT,
    ) -> None:
        """Read the options anew for each call, answers from `store`; publish each look-up."""
        self._options = options
        self._store = store
        self._clock = clock
        self._bus = bus
        self._replay = Replay(clock, bus, "exact")
        self._plain = ValidatedCache()
        self._passes = ValidatedCache()  # forms of requests that the cache has nothing to do with

    def unary(self, call: Call, request: Any, proceed: Whole, /) -> Awaitable[Any]:
        """Answer out of the cache, or go on.

        Raises:
            NotCached: nothing else was asked for, and there is nothing.
            ServiceError: the rest failed, and there is no old answer to give instead.
        """
        if self._has_passed(call, request):
            return self._past(call, request, proceed)
        fresh = self._at_hand(call, request)
        if fresh is not None:
            return _given(self._replay.whole(call, fresh))
        return self._unary(call, request, proceed)

    async def _past(self, call: Call, request: Any, proceed: Whole) -> Any:
        """Return the answer, whole or open, of what the cache has nothing to do with."""
        self._looked_up(call, "bypass")
        answer = await proceed(call, request)
        started = started_of(answer) if isinstance(answer, EventStream) else answer.started
        if started is not None:
            _mark(started, pb.CACHE_STATUS_BYPASS)
        return answer

    async def _unary(self, call: Call, request: Any, proceed: Whole) -> Any:
        look = await self._look(call, request)
        if look.fresh is not None:
            return self._replay.whole(call, look.fresh)
        try:
            response = await proceed(call, request)
        except ServiceError as error:
            old = self._old(call, look, request, error)
            if old is None:
                raise
            return self._replay.whole(call, old, _tell_stale)
        _mark(response.started, look.status)
        return response

    def stream(self, call: Call, request: Any, proceed: Opens, /) -> Awaitable[EventStream]:
        """Answer out of the cache, or go on; an old answer is given before the first event only.

        Raises:
            NotCached: nothing else was asked for, and there is nothing.
            ServiceError: the rest failed, and there is no old answer to give instead.
        """
        if self._has_passed(call, request):
            return self._past(call, request, proceed)
        fresh = self._at_hand(call, request)
        if fresh is not None:
            return _given(self._replay.at_once(call, fresh))
        return self._stream(call, request, proceed)

    async def _stream(self, call: Call, request: Any, proceed: Opens) -> EventStream:
        look = await self._look(call, request)
        if look.fresh is not None:
            return await self._replay.open(call, request, look.fresh, _tell_nothing)
        try:
            events = await proceed(call, request)
        except ServiceError as error:
            old = self._old(call, look, request, error)
            if old is None:
                raise
            return await self._replay.open(call, request, old, _tell_stale)
        started = started_of(events)
        if started is not None:
            _mark(started, look.status)
        return events

    def _has_passed(self, call: Call, request: Any) -> bool:
        """Say whether requests of the same form were found not to concern the cache."""
        sketch = sketch_of(call, request)
        return sketch is not None and self._passes.knows(sketch.form, self._options())

    def _at_hand(self, call: Call, request: Any) -> StoredAnswer | None:
        """Return what can be given at once: the usual hit. For all else there is `_look`."""
        if call.large:
            return None
        options, sketch = self._options(), sketch_of(call, request)
        plain = sketch is not None and self._plain.knows(sketch.form, options)
        if not plain:
            if not concerns(options, request):
                return None
            if request.HasField("cache_control"):
                control = request.cache_control
                if control.mode not in _USUAL or control.HasField("replay_interval"):
                    return None
            elif sketch is not None:
                self._plain.learn(sketch.form, options)
        answer = self._store.at_hand(answer_key(call, request))
        if answer is None:
            return None
        now = self._clock.now()
        fresh = now < answer.fresh_until if plain else is_fresh(answer, request, now)
        if not fresh:
            return None
        self._looked_up(call, "hit")
        return answer

    async def _look(self, call: Call, request: Any) -> _Look:
        """Look the request up.

        Raises:
            NotCached: nothing else was asked for, and there is nothing.
        """
        options = self._options()
        if not concerns(options, request):
            if options.mode == "off" and request.cache_control.mode == _ONLY:
                raise NotCached(
                    "the cache is disabled (cache.mode), so there is no cached answer; use "
                    "another cache_control.mode"
                )
            self._looked_up(call, "bypass")
            sketch = sketch_of(call, request)
            if sketch is not None:
                self._passes.learn(sketch.form, options)
            return _BYPASSED
        mode = request.cache_control.mode
        key = await sliced_answer_key(call, request, self._clock)
        old = await self._store.get(key)
        fresh = None
        if mode != _REFRESH:
            if old is not None and is_fresh(old, request, self._clock.now()):
                fresh = old
                self._looked_up(call, "hit")
            else:
                self._looked_up(call, "miss")
                if mode == _ONLY:
                    raise NotCached(
                        "there is no cached answer to this request; use another "
                        "cache_control.mode to generate one"
                    )
        return _Look(pb.CACHE_STATUS_MISS, fresh, old)

    def _old(
        self, call: Call, look: _Look, request: Any, error: ServiceError
    ) -> StoredAnswer | None:
        """Return the old answer that is to be given in place of a failure; None for none."""
        old = look.old
        if old is None or self._clock.now() >= old.kept_until:
            return None
        if not (request.fallback.allow_stale or self._options().allow_stale):
            return None
        if not isinstance(error, (UpstreamError, PolicyError)) or isinstance(error, _NO_STALE):
            return None
        self._looked_up(call, "stale")
        return old

    def _looked_up(self, call: Call, result: Literal["hit", "miss", "bypass", "stale"]) -> None:
        self._bus.publish(CacheLookedUp(call.execution, "exact", result))

    def __repr__(self) -> str:
        """Name the policy and its options."""
        options = self._options()
        return f"CacheLookup(mode={options.mode}, ttl={options.ttl_seconds:g} s)"


class _Look:
    """What a look into the cache gave: a fresh answer, or an old one for the worst case."""

    __slots__ = ("fresh", "old", "status")

    def __init__(
        self,
        status: pb.CacheStatus.ValueType,
        fresh: StoredAnswer | None = None,
        old: StoredAnswer | None = None,
    ) -> None:
        self.status = status
        self.fresh = fresh
        self.old = old


_BYPASSED = _Look(pb.CACHE_STATUS_BYPASS)


def is_fresh(answer: StoredAnswer, request: Any, now: float) -> bool:
    """Say whether an answer is as good as new, and young enough for who asks."""
    if now >= answer.fresh_until:
        return False
    if not request.HasField("cache_control") or not request.cache_control.HasField("ttl"):
        return True
    return now - answer.stored < seconds_of(request.cache_control.ttl)


def _mark(started: pb.Started, status: pb.CacheStatus.ValueType) -> None:
    """Say where an answer came from, unless somebody further in has said so."""
    if started.cache_status == pb.CACHE_STATUS_UNSPECIFIED:
        started.cache_status = status


def _tell_stale(started: pb.Started) -> None:
    started.cache_status = pb.CACHE_STATUS_STALE


def _tell_nothing(_started: pb.Started) -> None:
    """Leave it at what is kept: a hit."""


async def _given(answer: T) -> T:
    """Return what is there already, awaitable."""
    return answer
