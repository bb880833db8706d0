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
from gemini_backend.policies.attempts.attempt_budget import UNCOUNTED, is_spent
from gemini_backend.policies.event_stream import EventStream, Watch
from gemini_backend.policies.wrapper import Around

if TYPE_CHECKING:
    from gemini_backend.call import Call, UpstreamKey
    from gemini_backend.policies.attempts.attempt_budget import Attempting
    from gemini_backend.policies.attempts.key_pool import KeyPool
    from gemini_backend.policies.wrapper import Whole

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


class _InUse(Watch):
    """Gives a key back when the answer has ended."""

    __slots__ = ("_key", "_key_pool")

    def __init__(self, key_pool: KeyPool, key: UpstreamKey) -> None:
        self._key_pool = key_pool
        self._key = key

    def end(self, _error: BaseException | None, /) -> None:
        self._key_pool.give_back(self._key)


class KeySelection(Around):
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

    async def run(self, call: Call, request: Any, proceed: Whole, /) -> Any:
        """Answer with the first key that is taken, which is in use to the answer's end.

        Raises:
            NoUpstreamKey: there is none.
            ServiceError: of the last key that was asked.
        """
        asked: list[UpstreamKey] = []
        failure: ServiceError | None = None
        pool = self._key_pool
        while True:
            key = pool.take(request.model, asked, call.bound_to)
            asked.append(key)
            KEY.set(key)
            try:
                answer = await proceed(call, request)
            except BaseException as error:
                pool.give_back(key)
                if is_spent(error) and failure is not None:
                    raise failure from None
                if not isinstance(error, ServiceError):
                    raise
                failure = error
                if not self._another(call, request.model, asked, error):
                    raise
            else:
                if isinstance(answer, EventStream):
                    answer.watch(_InUse(pool, key))
                else:
                    pool.give_back(key)
                return answer

    def _another(
        self, call: Call, model: str, asked: list[UpstreamKey], error: ServiceError
    ) -> bool:
        """Say whether another key is worth asking at once."""
        elsewhere = _may_be_elsewhere(error)
        if not (elsewhere or isinstance(error, _OF_THE_KEY)) or is_spent(error):
            return False
        if not self._key_pool.usable_beside(model, asked, call.bound_to, elsewhere=elsewhere):
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
