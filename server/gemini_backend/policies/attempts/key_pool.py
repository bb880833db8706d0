"""The upstream keys: which one is used next, and how each of them fares."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from gemini_backend.errors import (
    AccountLimited,
    DailyQuotaExhausted,
    KeyRefused,
    NoUpstreamKey,
    OutOfQuota,
    ProjectRefused,
    Throttled,
)
from gemini_backend.policies.flow import UNSAID_SECONDS
from gemini_backend.telemetry.component_status import KeyState, KeyStatus
from gemini_backend.telemetry.events import SILENT, KeyChanged

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from gemini_backend.call import UpstreamKey
    from gemini_backend.clock import Clock
    from gemini_backend.errors import ServiceError
    from gemini_backend.telemetry.events import Publisher

# For how many models a project's blocks are remembered; beyond, the one noted first goes.
MAX_BLOCKS = 1000
_DAY_SECONDS = 86_400.0


def no_wait(_project: str, _model: str) -> float:
    """Know of no quota."""
    return 0.0


class KeyPool:
    """Picks keys: of those that may be used, the one with the fewest calls in flight.

    A refused key is left alone for `rest_seconds`, and so are all of a project that is refused, or
    whose account is limited. What the caller is to mend says nothing of a key. A
    project that throttles a model is left alone for that model, as long as it says. When none may
    be used, the one that may be soonest is: so its own failure, or wait, is what the caller gets.

    Keys come and go while calls are in flight (`replace`): one that was removed is not taken again,
    and forgotten with its last call.
    """

    def __init__(
        self,
        keys: Sequence[UpstreamKey],
        clock: Clock,
        rest_seconds: Callable[[], float],
        *,
        quota_wait: Callable[[str, str], float] = no_wait,
        bus: Publisher = SILENT,
    ) -> None:
        """Know the keys.

        Args:
            keys: In the order of the configuration.
            clock: Times the rests.
            rest_seconds: How long a refused key is left alone.
            quota_wait: For how many seconds a project's own quota for a model is spent.
            bus: Where it is published that a key can no longer be used, or can be again.
        """
        self._quota_wait = quota_wait
        self._bus = bus
        self._entries = [_Entry(key) for key in keys]
        self._by_id = {entry.key.key_id: entry for entry in self._entries}
        self._clock = clock
        self._rest_seconds = rest_seconds
        self._blocks: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._closed: set[tuple[str, str]] = set()  # blocks that an answer ends
        self._turn = 0

    def __len__(self) -> int:
        """Return how many keys there are."""
        return len(self._entries)

    @property
    def projects(self) -> int:
        """How many projects the keys belong to."""
        return len({entry.key.project for entry in self._entries})

    def replace(self, keys: Iterable[UpstreamKey]) -> None:
        """Use these keys from now on, in this order; those that stay keep their states."""
        leaving, entries = self._by_id, []
        for key in keys:
            entry = leaving.pop(key.key_id, None) or _Entry(key)
            entry.key, entry.removed = key, False
            entries.append(entry)
        self._entries = entries
        self._by_id = {entry.key.key_id: entry for entry in entries}
        for key_id, entry in leaving.items():
            entry.removed = True
            if entry.in_flight:
                self._by_id[key_id] = entry

    def take(
        self, model: str, tried: Collection[UpstreamKey] = (), bound_to: str = ""
    ) -> UpstreamKey:
        """Return the key for a call to a model, and count the call as in flight until `give_back`.

        Keys that were `tried` are not taken again while there is another one, best of a project
        that was not. With `bound_to`, the
        id of a key, only keys of that one's project are taken, itself first.

        Raises:
            NoUpstreamKey: there is no key at all.
        """
        entries = self._entries
        entry = entries[0] if len(entries) == 1 else self._best(model, tried, bound_to)
        entry.turn = self._turn = self._turn + 1
        entry.in_flight += 1
        return entry.key

    def peek(self) -> UpstreamKey:
        """Return a key for what is no call to a model, such as the list of models.

        Raises:
            NoUpstreamKey: there is no key at all.
        """
        return self._best("", ()).key

    def give_back(self, key: UpstreamKey) -> None:
        """Count one call less in flight."""
        entry = self._by_id[key.key_id]
        entry.in_flight -= 1
        if entry.removed and not entry.in_flight:
            del self._by_id[key.key_id]

    def usable_beside(
        self,
        model: str,
        tried: Collection[UpstreamKey],
        bound_to: str = "",
        *,
        elsewhere: bool = False,
    ) -> bool:
        """Say whether there is a key that was not tried and may be used for a model now.

        With `elsewhere` only keys count that are of a project of which none was tried.
        """
        now = self._clock.now()
        projects = {key.project for key in tried} if elsewhere else ()
        return any(
            one.key not in tried
            and one.key.project not in projects
            and not self._blocked(one, model, now)
            for one in self._allowed(bound_to)
        )

    def note(self, key: UpstreamKey, model: str, error: ServiceError | None) -> None:
        """Take to heart how a call with a key ended; None for well."""
        entry = self._by_id.get(key.key_id) or _Entry(key, removed=True)
        now = self._clock.now()
        if error is None:
            entry.succeeded += 1
            self._reopen(key.project, model)
            if now >= entry.until or entry.state is KeyState.INVALID:
                self._become(entry, KeyState.ACTIVE, 0.0)
            return
        entry.failed += 1
        entry.last_failure_reason = error.reason
        if isinstance(error, (AccountLimited, KeyRefused, ProjectRefused)):
            until = now + (error.retry_after or self._rest_seconds())
            alone = isinstance(error, KeyRefused)
            for one in self._entries:
                if one is entry or (one.key.project == key.project and not alone):
                    self._become(one, KeyState.INVALID, until)
        elif isinstance(error, OutOfQuota) and not error.concerns_model:
            return
        elif isinstance(error, DailyQuotaExhausted):
            after = _DAY_SECONDS if error.retry_after is None else error.retry_after
            self._block(key.project, model, KeyState.EXHAUSTED, now + after)
            self._closed.add((key.project, model))
        elif isinstance(error, Throttled):
            after = UNSAID_SECONDS if error.retry_after is None else error.retry_after
            self._block(key.project, model, KeyState.THROTTLED, now + after)

    def states(self) -> list[KeyStatus]:
        """Return how every key fares, in the order of the configuration."""
        now = self._clock.now()
        return [entry.status(now) for entry in self._entries]

    def _best(self, model: str, tried: Collection[UpstreamKey], bound_to: str = "") -> _Entry:
        if not self._entries:
            msg = (
                "this server has no key for the model API; set GEMINI_API_KEY, "
                "upstream.gemini.api_keys, api_keys_file or api_keys_command, or store one with "
                "`gemini-backend upstream-keys add`"
            )
            raise NoUpstreamKey(msg)
        if len(self._entries) == 1:
            return self._entries[0]
        now = self._clock.now()
        projects = {key.project for key in tried}
        return min(
            self._allowed(bound_to),
            key=lambda one: (
                one.key in tried,
                self._blocked(one, model, now),
                one.key.project in projects,
                one.key.key_id != bound_to,
                one.in_flight,
                one.turn,
            ),
        )

    def _allowed(self, bound_to: str) -> list[_Entry]:
        """Return the keys of the project of a key; all of them where there is no such key."""
        if not bound_to:
            return self._entries
        projects = {one.key.project for one in self._entries if one.key.key_id == bound_to}
        return [one for one in self._entries if one.key.project in projects] or self._entries

    def _block(self, project: str, model: str, state: KeyState, until: float) -> None:
        block = (project, model)
        self._blocks[block] = max(until, self._blocks.get(block, 0.0))
        if len(self._blocks) > MAX_BLOCKS:
            self._closed.discard(self._blocks.popitem(last=False)[0])
        for entry in self._entries:
            if entry.key.project == project and entry.state is not KeyState.INVALID:
                self._become(entry, state, until)

    def _reopen(self, project: str, model: str) -> None:
        """End the block of a quota by the day: a call that tried it was answered."""
        if (project, model) not in self._closed:
            return
        self._closed.discard((project, model))
        until = self._blocks.pop((project, model))
        for entry in self._entries:
            if entry.key.project == project and entry.until == until:
                self._become(entry, KeyState.ACTIVE, 0.0)

    def _become(self, entry: _Entry, state: KeyState, until: float) -> None:
        before = entry.state
        entry.rests(state, until)
        first = before is KeyState.UNKNOWN and state is KeyState.ACTIVE
        if state is not before and not first and not entry.removed:
            now = self._clock.now()
            lasts = until - now if until > now else None
            self._bus.publish(KeyChanged(entry.status(now), before, lasts))

    def _blocked(self, entry: _Entry, model: str, now: float) -> float:
        """Return for how many seconds a key should not be used for a model."""
        until = self._blocks.get((entry.key.project, model), 0.0)
        if entry.state is KeyState.INVALID:
            until = max(until, entry.until)
        return max(0.0, until - now, self._quota_wait(entry.key.project, model))


class _Entry:
    """One key, and what is known of it."""

    __slots__ = (
        "failed",
        "in_flight",
        "key",
        "last_failure_reason",
        "removed",
        "state",
        "succeeded",
        "turn",
        "until",
    )

    def __init__(self, key: UpstreamKey, *, removed: bool = False) -> None:
        self.key = key
        self.state = KeyState.UNKNOWN
        self.until = 0.0
        self.turn = self.in_flight = self.succeeded = self.failed = 0
        self.last_failure_reason = ""
        self.removed = removed

    def rests(self, state: KeyState, until: float) -> None:
        self.state, self.until = state, until

    def status(self, now: float) -> KeyStatus:
        over = self.state not in {KeyState.UNKNOWN, KeyState.ACTIVE} and now >= self.until
        return KeyStatus(
            key_id=self.key.key_id,
            project=self.key.project,
            state=KeyState.ACTIVE if over else self.state,
            until=self.until if self.until > now else None,
            in_flight=self.in_flight,
            succeeded=self.succeeded,
            failed=self.failed,
            last_failure_reason=self.last_failure_reason,
        )
