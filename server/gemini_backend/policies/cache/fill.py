"""Writes good answers into the cache, once a run, however many callers the run has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gemini_backend.durations import seconds_of
from gemini_backend.policies.cache.codec import Recording, events_of
from gemini_backend.policies.cache.key import concerns, sliced_answer_key
from gemini_backend.policies.event_stream import Watch
from gemini_backend.policies.relay import Hook
from gemini_backend.sizes import KIB
from gemini_backend.stores.answer_store import StoredAnswer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gemini.backend.v1.execute_service_pb2 import Delta
    from gemini_backend.call import Call
    from gemini_backend.clock import Clock
    from gemini_backend.config.sections.answers import CacheOptions
    from gemini_backend.policies.relay import Run
    from gemini_backend.stores.answer_store import AnswerStore


class CacheFill(Hook):
    """Keeps what came to a good end; never what failed, was cut, blocked, truncated or too large.

    Stands inside of whatever shares a run, and outside of whatever repeats one. An answer is
    stored before its last event is handed on, so that whoever asks next finds it.
    """

    at_once = True

    def __init__(
        self, options: Callable[[], CacheOptions], store: AnswerStore, clock: Clock
    ) -> None:
        """Read the options anew for each run, write to `store`."""
        self._options = options
        self._store = store
        self._clock = clock

    def begin(self, run: Run, /) -> None:
        """Watch an answer that is to be kept if it is good."""
        options = self._options()
        if concerns(options, run.request):
            run.watches.append(_Filling(self, run, options.max_entry_kb * KIB))

    async def keep(self, call: Call, request: Any, events: tuple[bytes, ...]) -> None:
        """Store a good answer."""
        options = self._options()
        ttl = options.ttl_seconds
        if request.cache_control.HasField("ttl"):
            ttl = min(seconds_of(request.cache_control.ttl), options.max_ttl_seconds)
        now = self._clock.now()
        fresh_until = now + ttl
        answer = StoredAnswer(
            events, now, fresh_until, fresh_until + options.stale_if_error_seconds
        )
        key = await sliced_answer_key(call, request, self._clock)
        await self._store.put(key, answer)

    def __repr__(self) -> str:
        """Name the policy and its options."""
        return f"CacheFill(max_entry={self._options().max_entry_kb} KiB)"


class _Filling(Watch):
    """Records one answer; it is stored before its last event is handed on."""

    __slots__ = ("_call", "_fill", "_max_bytes", "_recording", "_request")

    def __init__(self, fill: CacheFill, run: Run, max_bytes: int) -> None:
        self._fill = fill
        self._call = run.call
        self._request = run.request
        self._max_bytes = max_bytes
        self._recording = Recording(max_bytes)

    def event(self, event: Any, delta: Delta | None, /) -> Awaitable[None] | None:
        if delta is not None:
            self._recording.add(delta)
            return None
        whole = self._recording.take(event)
        if whole is None:
            return None
        return self._fill.keep(self._call, self._request, whole)

    def answer(self, response: Any, /) -> Awaitable[None] | None:
        events = events_of(response)
        if events is None or sum(map(len, events)) > self._max_bytes:
            return None
        return self._fill.keep(self._call, self._request, events)
