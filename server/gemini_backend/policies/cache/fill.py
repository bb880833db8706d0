"""Writes good answers into the cache, once a run, however many callers the run has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gemini_backend.durations import seconds_of
from gemini_backend.policies.base import opened
from gemini_backend.policies.cache.codec import Recording, events_of
from gemini_backend.policies.cache.key import concerns, sliced_answer_key
from gemini_backend.sizes import KIB
from gemini_backend.stores.answer_store import StoredAnswer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from gemini_backend.call import Call
    from gemini_backend.clock import Clock
    from gemini_backend.config.sections.answers import CacheOptions
    from gemini_backend.policies.base import Stream, Unary
    from gemini_backend.stores.answer_store import AnswerStore


class CacheFill:
    """Keeps what came to a good end; never what failed, was cut, blocked, truncated or too large.

    Stands inside of whatever shares a run, and outside of whatever repeats one. An answer is
    stored before its last event is handed on, so that whoever asks next finds it.
    """

    def __init__(
        self, options: Callable[[], CacheOptions], store: AnswerStore, clock: Clock
    ) -> None:
        """Read the options anew for each run, write to `store`."""
        self._options = options
        self._store = store
        self._clock = clock

    async def unary(self, call: Call, request: Any, proceed: Unary[Any, Any], /) -> Any:
        """Hand the answer on, and keep it if it is good."""
        options = self._options()
        response = await proceed(call, request)
        if concerns(options, request):
            events = events_of(response)
            if events is not None and sum(map(len, events)) <= options.max_entry_kb * KIB:
                await self._keep(call, request, events)
        return response

    def stream(self, call: Call, request: Any, proceed: Stream[Any, Any], /) -> AsyncIterator[Any]:
        """Hand the events on, and keep the answer if it is good."""
        if not concerns(self._options(), request):
            return proceed(call, request)
        return self._record(call, request, proceed)

    async def _record(
        self, call: Call, request: Any, proceed: Stream[Any, Any]
    ) -> AsyncIterator[Any]:
        recording = Recording(self._options().max_entry_kb * KIB)
        async with opened(proceed(call, request)) as events:
            async for event in events:
                whole = recording.take(event)
                if whole is not None:
                    await self._keep(call, request, whole)
                yield event

    async def _keep(self, call: Call, request: Any, events: tuple[bytes, ...]) -> None:
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
