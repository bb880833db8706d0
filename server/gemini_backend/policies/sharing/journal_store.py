"""Where the journal keeps the events of executions: bounded in time, bytes and number."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

from gemini_backend.errors import UnknownResource
from gemini_backend.memory import Purpose
from gemini_backend.policies.sharing.replay_buffer import AHEAD_BYTES, ReplayBuffer
from gemini_backend.sizes import KIB, MIB
from gemini_backend.telemetry.component_status import JournalState

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini_backend.call import Call
    from gemini_backend.clock import Alarm, Clock
    from gemini_backend.config.sections.answers import JournalOptions
    from gemini_backend.memory import MemoryBudget
    from gemini_backend.principal import Owner, Principal

# What an execution costs beside its events: tape, record, places in the tables.
EXECUTION_OVERHEAD_BYTES = 2048
# What an execution in progress that ends with its caller may keep in any case: its caller has the
# rest, or will not come back for it.
PASSING_BYTES = 64 * KIB
# Of how many executions it is remembered why they went; the ones that went first are forgotten.
_REMEMBERED = 2000


class Place(NamedTuple):
    """From where an execution can be resumed: the events before `first` are gone.

    `keep` is for how many seconds after its end that is so; None while it runs.
    """

    first: int
    keep: float | None


class Record:
    """One execution's events, and whose they are.

    `recording` ends when the record is let go; whoever writes to it looks at that first. `settled`
    is for whoever writes to note that it has told the end. `passing` are its bytes as long as it is
    in progress and ends with its caller.
    """

    __slots__ = ("buffer", "ended_at", "execution", "owner", "passing", "recording", "settled")

    def __init__(self, execution: str, owner: Owner, buffer: ReplayBuffer) -> None:
        """Begin with an empty tape."""
        self.execution = execution
        self.owner = owner
        self.buffer = buffer
        self.recording = True
        self.settled = False
        self.passing = 0
        self.ended_at = 0.0


class _Tenant:
    """What is kept for one tenant: its bytes; its executions in order of beginning, and of end."""

    __slots__ = ("bytes", "ended", "name", "running")

    def __init__(self, name: str) -> None:
        self.name = name
        self.bytes = 0
        self.running: OrderedDict[str, Record] = OrderedDict()
        self.ended: OrderedDict[str, Record] = OrderedDict()


class JournalStore:
    """Records by execution: those that still run, and those that have ended, in that order of end.

    At a bound the record goes that ended first of the tenant that needs the room, then of all,
    then the one that began first, in that order again; of one that is being read only the past
    goes. Executions in progress that end with their callers have a smaller bound together; beyond
    it those with more than `PASSING_BYTES` let their oldest events go as they grow. Where memory
    is short altogether, those go that have ended, of the tenant that holds the most first. What
    went is remembered by its id for a while, so that whoever asks for it is told why it is not
    there.
    """

    def __init__(
        self,
        options: Callable[[], JournalOptions],
        clock: Clock,
        memory: MemoryBudget | None = None,
    ) -> None:
        """Read bounds off `options`, times off `clock`; count bytes in `memory` as well."""
        self._options = options
        self._clock = clock
        self._account = None if memory is None else memory.account(Purpose.JOURNAL)
        if memory is not None:
            memory.give_way(self._give_way)
        self._tenants: dict[str, _Tenant] = {}
        self._running: OrderedDict[str, Record] = OrderedDict()
        self._ended: OrderedDict[str, Record] = OrderedDict()
        self._gone: OrderedDict[str, tuple[Owner, str]] = OrderedDict()
        self._alarm: Alarm | None = None
        self._alarm_keep = 0.0  # what was to be kept when it was set
        self.bytes = 0
        self._passing = 0  # bytes of executions in progress that end with their callers
        self.evicted = 0
        self._cut_at: float | None = None

    def __len__(self) -> int:
        """Return how many executions are kept."""
        return len(self._running) + len(self._ended)

    def state(self) -> JournalState:
        """Tell how it stands."""
        options = self._options()
        return JournalState(
            executions=len(self),
            max_executions=options.max_executions,
            bytes=self.bytes,
            max_bytes=options.max_size_mb * MIB,
            evicted=self.evicted,
            cut_at=self._cut_at,
        )

    def open(self, call: Call, *, paced: bool = False) -> Record:
        """Begin a record; `paced` is for a run that waits for its readers."""
        name = call.principal.tenant
        tenant = self._tenants.get(name)
        if tenant is None:
            tenant = self._tenants[name] = _Tenant(name)
        options = self._options()
        if len(self._running) + len(self._ended) >= options.max_executions:
            while len(self._running) + len(self._ended) >= options.max_executions:
                if not self._evict(tenant):
                    break
            tenant = self._tenants.setdefault(name, tenant)  # it may have gone with its last record
        buffer = ReplayBuffer(
            options.max_execution_mb * MIB,
            paced=paced,
            on_growth=lambda change: self._grow(tenant, change, None if paced else record),
        )
        record = Record(call.execution, call.principal.owner, buffer)
        self._running[record.execution] = tenant.running[record.execution] = record
        self._grow(tenant, EXECUTION_OVERHEAD_BYTES)
        return record

    def find(self, execution: str, principal: Principal, after: int) -> Record:
        """Return the record that a principal may go on with after so many events.

        Raises:
            UnknownResource: there is none, it is somebody else's, or it is not kept any more.
        """
        record = self._running.get(execution) or self._ended.get(execution)
        if record is not None and record.owner == principal.owner:
            if after < record.buffer.first:
                raise UnknownResource(
                    f"the events of execution {execution!r} up to {record.buffer.first} are no "
                    "longer kept: they exceed the journal's limit; send the request again"
                )
            return record
        owner, why = self._gone.get(execution, (None, ""))
        if owner is not None and owner == principal.owner:
            raise UnknownResource(f"execution {execution!r} {why}")
        raise UnknownResource(
            f"there is no execution {execution!r} to resume; check the id, and that it was started "
            "by the same principal on this server"
        )

    def place_of(self, execution: str) -> Place | None:
        """Return from where an execution can be resumed; None where it cannot."""
        record = self._running.get(execution)
        if record is not None:
            return Place(record.buffer.first, None)
        record = self._ended.get(execution)
        if record is None:
            return None
        return Place(record.buffer.first, self._options().keep_seconds)

    def settle(self, record: Record) -> None:
        """Take note that an execution has ended; from now on its time runs."""
        if self._running.pop(record.execution, None) is not None:
            if record.passing:
                self._pass(record, -record.passing)
            record.ended_at = self._clock.now()
            tenant = self._tenants[record.owner.tenant]
            tenant.running.pop(record.execution, None)
            self._ended[record.execution] = tenant.ended[record.execution] = record
            if self._alarm is None or self._options().keep_seconds < self._alarm_keep:
                self._sweep()

    def drop(self, record: Record, why: str) -> None:
        """Let a record go; `why` finishes the sentence that begins with the execution's name."""
        kept = self._running.pop(record.execution, None) or self._ended.pop(record.execution, None)
        if kept is None:
            return
        tenant = self._tenants[record.owner.tenant]
        tenant.running.pop(record.execution, None)
        tenant.ended.pop(record.execution, None)
        record.recording = False
        self._pass(record, -record.passing)
        self._gone[record.execution] = (record.owner, why)
        while len(self._gone) > _REMEMBERED:
            self._gone.popitem(last=False)
        record.buffer.detach()
        self._grow(tenant, -record.buffer.told - EXECUTION_OVERHEAD_BYTES)
        if not tenant.bytes:
            del self._tenants[tenant.name]

    def clear(self) -> None:
        """Let everything go."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self._running.clear()
        self._ended.clear()
        self._gone.clear()
        self._tenants.clear()
        self._passing = 0
        if self._account is not None:
            self._account.change(-self.bytes)
        self.bytes = 0

    def _pass(self, record: Record, change: int) -> None:
        """Count bytes of an execution in progress that ends with its caller."""
        record.passing += change
        self._passing += change

    def _grow(self, tenant: _Tenant, change: int, passing: Record | None = None) -> None:
        self.bytes += change
        tenant.bytes += change
        if passing is not None and passing.execution in self._running:
            self._pass(passing, change)
            large = change > 0 and passing.passing > PASSING_BYTES
            if large and self._passing > self._options().max_running_mb * MIB:
                passing.buffer.trim(PASSING_BYTES * 3 // 4)
        if change > 0:
            most = self._options().max_size_mb * MIB
            while self.bytes > most and self._evict(tenant):
                pass
        if self._account is not None:
            self._account.change(change)

    def _evict(self, tenant: _Tenant) -> bool:
        """Make room for a tenant; tell whether there is more than before."""
        for records in (tenant.ended, self._ended, tenant.running, self._running):
            for record in records.values():
                if not record.buffer.readers:
                    if records is self._running or records is tenant.running:
                        self._cut_at = self._clock.now()
                    self._let_go(record, "the journal was full")
                    return True
        before = self.bytes
        for record in tuple(self._running.values()):
            record.buffer.shrink(AHEAD_BYTES)
        return self.bytes < before

    def _let_go(self, record: Record, why: str) -> None:
        self.evicted += 1
        self.drop(record, f"is no longer kept: {why}; send the request again")

    def _give_way(self, over: int) -> None:
        """Let about so many bytes go of executions that have ended."""
        enough = self.bytes - over
        for tenant in sorted(self._tenants.values(), key=lambda one: -one.bytes):
            for record in tuple(tenant.ended.values()):
                if self.bytes <= enough:
                    return
                if not record.buffer.readers:
                    self._let_go(record, "the server needed the memory")

    def _sweep(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        keep = self._alarm_keep = self._options().keep_seconds
        now = self._clock.now()
        while self._ended:
            record = next(iter(self._ended.values()))
            left = record.ended_at + keep - now
            if left > 0:
                self._alarm = self._clock.alarm(left, self._sweep)
                return
            self.drop(
                record,
                f"is no longer kept: it ended more than {keep:g} s ago; send the request again",
            )
