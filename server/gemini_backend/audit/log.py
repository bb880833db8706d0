"""The audit log of a running server: entries are written in a thread, several at a time."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from gemini_backend.audit.failures import unavailable
from gemini_backend.errors import Overloaded, ServiceError, StoreUnavailable
from gemini_backend.stores.one_thread import OneThread
from gemini_backend.telemetry.health.health_report import Component
from gemini_backend.telemetry.health.health_rules import HealthState
from gemini_backend.telemetry.metrics.metric_families import Family

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gemini_backend.audit.entry import Act
    from gemini_backend.audit.files import Writer

MAX_WAITING = 256
"""Entries that wait to be written; acts beyond it are refused."""
MAX_NOTES = 128
"""Where so many wait, entries that nobody waits for are counted as lost, so that acts go on."""
# What the last entries may take when the server stops.
_CLOSE_SECONDS = 3.0
# Fewer than `MAX_BATCH`: a writer may add what it has found.
_AT_ONCE = 60
_LEFT_OUT, _LOST = "refusals_left_out", "entries_lost"

_log = logging.getLogger(__name__)


class _Waiting(NamedTuple):
    """An entry to be written, and who waits for it; None for nobody."""

    act: Act
    written: asyncio.Future[None] | None


class AuditLog:
    """Writes entries in the order in which they are reported; those that wait share one write."""

    def __init__(self, writer: Writer) -> None:
        """Write by `writer`; nothing is opened until the first entry."""
        self._writer = writer
        self._thread = OneThread("audit")
        self._waiting: deque[_Waiting] = deque()
        self._task: asyncio.Task[None] | None = None
        self._pending = {_LEFT_OUT: 0, _LOST: 0}
        self._problem = ""
        self.entries = self.lost = self.left_out = self.sequence = 0

    async def record(self, act: Act) -> None:
        """Write an entry; return once it is on disk.

        Raises:
            StoreUnavailable: it could not be written.
            Overloaded: too many wait already.
        """
        if len(self._waiting) >= MAX_WAITING:
            msg = f"{MAX_WAITING} entries wait for the audit log; retry later"
            raise Overloaded(msg, retry_after=1.0)
        written = asyncio.get_running_loop().create_future()
        self._add(_Waiting(act, written))
        await written

    def note(self, act: Act) -> None:
        """Write an entry soon, without anybody waiting; where too many wait, it is lost."""
        if len(self._waiting) >= MAX_NOTES:
            self._lose(1)
        else:
            self._add(_Waiting(act, None))

    def leave_out(self) -> None:
        """Count a refusal that gets no entry of its own; the next entry has their number."""
        self.left_out += 1
        self._pending[_LEFT_OUT] += 1

    async def aclose(self) -> None:
        """Write what still waits, then end the thread."""
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=_CLOSE_SECONDS)
            if not self._task.done():
                _log.error("audit_log_unavailable", extra={"problem": "the disk does not answer"})
                self._task.cancel()
        self._thread.close()

    def component(self) -> Component:
        """Report whether entries can be written, and whether the log was found altered."""
        if self._problem:
            return Component("audit", HealthState.DEGRADED, self._problem)
        if self._writer.altered:
            why = f"the audit log was altered: {self._writer.altered}"
            fix = "run `gemini-backend audit verify`"
            return Component("audit", HealthState.DEGRADED, f"{why}; {fix}")
        if not self.sequence:
            return Component("audit", HealthState.UNKNOWN, "no entry has been written yet")
        return Component("audit", HealthState.HEALTHY, "")

    def families(self) -> Iterator[Family]:
        """Yield the metrics."""
        said = "Entries written into the audit log by this process."
        yield Family.counter("audit_entries", said, self.entries)
        said = "Entries that could not be written into the audit log."
        yield Family.counter("audit_entries_lost", said, self.lost)
        said = "Refused calls without an entry of their own in the audit log."
        yield Family.counter("audit_refusals_left_out", said, self.left_out)
        said = "Sequence of the latest entry of the audit log that this process has written."
        yield Family.gauge("audit_sequence", said, self.sequence)

    def _add(self, waiting: _Waiting) -> None:
        self._waiting.append(waiting)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._write_all())

    async def _write_all(self) -> None:
        while self._waiting:
            count = min(len(self._waiting), _AT_ONCE)
            batch = [self._waiting.popleft() for _ in range(count)]
            pending, self._pending = self._pending, dict.fromkeys(self._pending, 0)
            acts = [one.act for one in batch]
            acts[0] = _with_counts(acts[0], pending)
            try:
                self.sequence = await self._thread.run(partial(self._writer.append, acts))
            except Exception as error:  # noqa: BLE001 - told to whoever waits, logged, judged
                self._failed(batch, pending, error)
            else:
                self._written(batch)

    def _written(self, batch: list[_Waiting]) -> None:
        if self._problem:
            _log.info("audit_log_works_again")
        self._problem = ""
        self.entries += len(batch)
        for one in batch:
            if one.written is not None and not one.written.done():
                one.written.set_result(None)

    def _failed(self, batch: list[_Waiting], pending: dict[str, int], error: Exception) -> None:
        known = unavailable(error) if isinstance(error, OSError) else error
        if isinstance(known, ServiceError):
            why = known.message
        else:
            why, known = "unexpected", StoreUnavailable("the audit log cannot be used; see the log")
        if not self._problem:
            facts = {"problem": why}
            _log.error("audit_log_unavailable", extra=facts, exc_info=why == "unexpected")
        self._problem = why
        for name, number in pending.items():
            self._pending[name] += number
        self._lose(len(batch))
        for one in batch:
            if one.written is not None and not one.written.done():
                one.written.set_exception(StoreUnavailable(known.message))

    def _lose(self, number: int) -> None:
        self.lost += number
        self._pending[_LOST] += number


def _with_counts(act: Act, counts: dict[str, int]) -> Act:
    said = {name: str(number) for name, number in counts.items() if number}
    return act._replace(details={**said, **act.details}) if said else act
