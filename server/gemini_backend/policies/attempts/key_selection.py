"""Each attempt goes out with the upstream key that suits it best."""

from __future__ import annotations

from dataclasses import dataclass, field
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
from gemini_backend.policies.attempts.attempt_budget import UNCOUNTED, is_spent
from gemini_backend.policies.base import opened

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gemini_backend.call import Call, UpstreamKey
    from gemini_backend.policies.attempts.attempt_budget import Attempting
    from gemini_backend.policies.attempts.key_pool import KeyPool
    from gemini_backend.policies.base import Stream, Unary

# Failures after which a key is left alone for a while, which is bounded by how many there are.
_KEY_REFUSED = (AccountLimited, KeyRefused, ProjectRefused)
# Failures that are the key's or its project's, so that another one is worth asking at once.
_OF_THE_KEY = (
    *_KEY_REFUSED,
    Throttled,
    DailyQuotaExhausted,
    QuotaExhausted,
    CircuitOpen,
)
_FORBIDDEN = 403


@dataclass(slots=True)
class _Asked:
    """The keys that one call has been tried with, and the failure of the last one."""

    keys: list[UpstreamKey] = field(default_factory=list)
    failure: ServiceError | None = None


class KeySelection:
    """Picks a key for the rest, and at once another one where the first is refused or spent.

    What the model API says is not there, or not for this key, may be another project's: then a key
    of each project is asked, and the key that was asked first stays in use.

    Only before the first event; each key is asked at most once, as long as the budget of attempts
    lasts. A key in place of a refused one, or of one of a wrong project, needs none of the ratio:
    neither says anything of the model. What stands further in finds the key by `current_key()`.
    With one key it only counts. A call that is bound to a project (`Call.bound_to`) gets keys of
    that project alone.
    """

    def __init__(self, key_pool: KeyPool, budget: Attempting = UNCOUNTED) -> None:
        """Pick from `key_pool`; attempts with further keys come out of `budget`."""
        self._key_pool = key_pool
        self._budget = budget

    async def unary(self, call: Call, request: Any, proceed: Unary[Any, Any], /) -> Any:
        """Answer with the first key that is taken.

        Raises:
            NoUpstreamKey: there is none.
            ServiceError: of the last key that was asked.
        """
        asked = _Asked()
        while True:
            key = self._take(call, request.model, asked)
            try:
                return await proceed(call, request)
            except ServiceError as error:
                self._go_on(call, request.model, asked, error)
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
        asked = _Asked()
        begun = False
        while True:
            key = self._take(call, request.model, asked)
            try:
                async with opened(proceed(call, request)) as events:
                    async for event in events:
                        begun = True
                        yield event
            except ServiceError as error:
                if begun:
                    raise
                self._go_on(call, request.model, asked, error)
            else:
                return
            finally:
                self._key_pool.give_back(key)

    def _take(self, call: Call, model: str, asked: _Asked) -> UpstreamKey:
        key = self._key_pool.take(model, asked.keys, call.bound_to)
        asked.keys.append(key)
        KEY.set(key)
        return key

    def _go_on(self, call: Call, model: str, asked: _Asked, error: ServiceError) -> None:
        """Go on to another key, or raise what is to be told."""
        if is_spent(error) and asked.failure is not None:
            raise asked.failure from None
        asked.failure = error
        if not self._another(call, model, asked, error):
            raise error

    def _another(self, call: Call, model: str, asked: _Asked, error: ServiceError) -> bool:
        """Say whether another key is worth asking at once."""
        elsewhere = _may_be_elsewhere(error)
        if not (elsewhere or isinstance(error, _OF_THE_KEY)) or is_spent(error):
            return False
        if not self._key_pool.usable_beside(model, asked.keys, call.bound_to, elsewhere=elsewhere):
            return False
        if elsewhere or isinstance(error, _KEY_REFUSED):
            call.attempts.unpaid += 1
        return self._budget.refusal(call, model) is None

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
