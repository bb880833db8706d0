"""A key under suspicion is tried apart, by a request that costs nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from gemini_backend.errors import AccountLimited, KeyRefused, ProjectRefused, ServiceError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gemini_backend.call import UpstreamKey
    from gemini_backend.clock import Clock

# How long the outcome of a trial holds; that of one which decided nothing is not asked for at once.
_HOLDS_SECONDS = 30.0
_UNDECIDED_SECONDS = 5.0
_LONGEST_SECONDS = 5.0
# Blocks a method, such as the list of models, while others may be allowed.
_OF_ONE_METHOD = "API_KEY_SERVICE_BLOCKED"


class _Outcome(NamedTuple):
    until: float
    refusal: ServiceError | None


class KeyTrial:
    """Says whether a key itself is refused, when a refusal does not say whose fault it is.

    One trial of a key runs at a time, and its outcome holds for half a minute: a caller whose
    requests are refused again and again makes no more than two a minute. A trial that decides
    nothing speaks for the key: it stays in use, and every call has its own refusal.
    """

    def __init__(self, send: Callable[[UpstreamKey], Awaitable[None]], clock: Clock) -> None:
        """Try keys by `send`, which raises a ServiceError when it is refused."""
        self._send = send
        self._clock = clock
        self._outcomes: dict[str, _Outcome] = {}
        self._running: dict[str, asyncio.Task[ServiceError | None]] = {}

    async def refusal(self, key: UpstreamKey) -> ServiceError | None:
        """Return with what a key is refused; None where it is not, or nobody knows."""
        known = self._outcomes.get(key.key_id)
        if known is not None and self._clock.now() < known.until:
            return known.refusal
        task = self._running.get(key.key_id)
        if task is None:
            task = self._running[key.key_id] = asyncio.create_task(self._try(key))
            task.add_done_callback(lambda _done: self._running.pop(key.key_id, None))
        return await asyncio.shield(task)

    async def aclose(self) -> None:
        """End every trial that runs."""
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _try(self, key: UpstreamKey) -> ServiceError | None:
        refusal, holds = None, _HOLDS_SECONDS
        try:
            async with self._clock.timeout(_LONGEST_SECONDS):
                await self._send(key)
        except (AccountLimited, KeyRefused, ProjectRefused) as error:
            if error.metadata.get("upstream_reason") == _OF_ONE_METHOD:
                holds = _UNDECIDED_SECONDS
            else:
                refusal = error
        except (ServiceError, TimeoutError):
            holds = _UNDECIDED_SECONDS
        now = self._clock.now()
        # those of keys that were removed go as well
        self._outcomes = {name: one for name, one in self._outcomes.items() if now < one.until}
        self._outcomes[key.key_id] = _Outcome(now + holds, refusal)
        return refusal
