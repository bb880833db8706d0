"""Each attempt goes out with the upstream key that suits it best."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gemini_backend.call import KEY
from gemini_backend.errors import (
    AccountLimited,
    CircuitOpen,
    DailyQuotaExhausted,
    KeyRefused,
    ProjectRefused,
    QuotaExhausted,
    RefusedByModelApi,
    ServiceError,
    Throttled,
    UnknownResource,
)
from gemini_backend.policies.base import opened

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gemini_backend.call import Call, UpstreamKey
    from gemini_backend.policies.attempts.key_pool import KeyPool
    from gemini_backend.policies.base import Stream, Unary

# Failures that are the key's or its project's, so that another one is worth asking at once.
_OF_THE_KEY = (
    AccountLimited,
    KeyRefused,
    ProjectRefused,
    Throttled,
    DailyQuotaExhausted,
    QuotaExhausted,
    CircuitOpen,
)
_FORBIDDEN = 403


class KeySelection:
    """Picks a key for the rest, and at once another one where the first is refused or spent.

    What the model API says is not there, or not for this key, may be another project's: then a key
    of each project is asked, and the key that was asked first stays in use.

    Only before the first event; each key is asked at most once. What stands further in finds the
    key by `current_key()`. With one key it only counts. A call that is bound to a project
    (`Call.bound_to`) gets keys of that project alone.
    """

    def __init__(self, key_pool: KeyPool) -> None:
        """Pick from `key_pool`."""
        self._key_pool = key_pool

    async def unary(self, call: Call, request: Any, proceed: Unary[Any, Any], /) -> Any:
        """Answer with the first key that is taken.

        Raises:
            NoUpstreamKey: there is none.
            ServiceError: of the last key that was asked.
        """
        tried: list[UpstreamKey] = []
        while True:
            key = self._take(call, request.model, tried)
            try:
                return await proceed(call, request)
            except ServiceError as error:
                if not self._another(call, request.model, tried, error):
                    raise
            finally:
                self._key_pool.give_back(key)

    async def stream(
        self, call: Call, request: Any, proceed: Stream[Any, Any], /
    ) -> AsyncIterator[Any]:
        """Hand on the events of the first key that is taken.

        Raises:
            NoUpstreamKey: there is none.
            ServiceError: of the last key that was asked.
        """
        tried: list[UpstreamKey] = []
        begun = False
        while True:
            key = self._take(call, request.model, tried)
            try:
                async with opened(proceed(call, request)) as events:
                    async for event in events:
                        begun = True
                        yield event
            except ServiceError as error:
                if begun or not self._another(call, request.model, tried, error):
                    raise
            else:
                return
            finally:
                self._key_pool.give_back(key)

    def _take(self, call: Call, model: str, tried: list[UpstreamKey]) -> UpstreamKey:
        key = self._key_pool.take(model, tried, call.bound_to)
        tried.append(key)
        KEY.set(key)
        return key

    def _another(
        self, call: Call, model: str, tried: list[UpstreamKey], error: ServiceError
    ) -> bool:
        """Say whether another key is worth asking at once."""
        elsewhere = _may_be_elsewhere(error)
        if not (elsewhere or isinstance(error, _OF_THE_KEY)):
            return False
        return self._key_pool.usable_beside(model, tried, call.bound_to, elsewhere=elsewhere)

    def __repr__(self) -> str:
        """Name the policy and how many keys there are."""
        return f"KeySelection({len(self._key_pool)} keys of {self._key_pool.projects} projects)"


def _may_be_elsewhere(error: ServiceError) -> bool:
    """Say whether what was asked for may belong to another of the keys' projects."""
    reply = error.upstream
    if reply is None:
        return False
    forbidden = isinstance(error, RefusedByModelApi) and reply.http_status == _FORBIDDEN
    return forbidden or isinstance(error, UnknownResource)
