"""The audit log of a running server."""

from __future__ import annotations

import asyncio
import errno
import os
from typing import TYPE_CHECKING

import pytest

from gemini_backend.audit.entry import Act
from gemini_backend.audit.log import MAX_NOTES, MAX_WAITING, AuditLog
from gemini_backend.errors import Overloaded, StoreUnavailable
from gemini_backend.telemetry.health.health_rules import HealthState
from tests.support.audit_logs import HeldWriter, acts, verdict
from tests.support.clock import settle

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def writer(tmp_path: Path) -> HeldWriter:
    return HeldWriter(tmp_path)


@pytest.fixture
async def log(writer: HeldWriter) -> AsyncIterator[AuditLog]:
    made = AuditLog(writer)
    yield made
    writer.go.set()
    await made.aclose()


def values(log: AuditLog) -> dict[str, object]:
    return {family.name: family.values[()] for family in log.families()}


async def test_an_entry_is_on_disk_before_its_act_goes_on(log: AuditLog, tmp_path: Path) -> None:
    """`record` returns once the entry can be verified."""
    await log.record(Act("keys create"))
    assert (1, 1, ()) == verdict(tmp_path)
    assert HealthState.HEALTHY == log.component().state
    assert (1, 1) == (values(log)["audit_entries"], values(log)["audit_sequence"])


async def test_entries_that_wait_share_one_write(log: AuditLog, writer: HeldWriter) -> None:
    """While one write waits for the disk, the next ones are gathered, in their order."""
    writer.go.clear()
    first = asyncio.create_task(log.record(acts(1)[0]))
    await settle()
    rest = [asyncio.create_task(log.record(act)) for act in acts(100, 2)]
    await settle()
    writer.go.set()
    await asyncio.gather(first, *rest)
    assert [1, 60, 40] == [len(batch) for batch in writer.batches]
    written = [act.target for batch in writer.batches for act in batch]
    assert [f"keys/k{number}" for number in range(1, 102)] == written


async def test_what_cannot_be_written_is_said_to_whoever_waits(
    log: AuditLog, writer: HeldWriter
) -> None:
    """The act gets a typed failure that names the fix; health and metrics have it."""
    writer.error = FULL
    with pytest.raises(StoreUnavailable, match="No space left"):
        await log.record(Act("keys create"))
    assert (HealthState.DEGRADED, 1) == (log.component().state, values(log)["audit_entries_lost"])
    writer.error = None
    await log.record(Act("keys create"))
    assert HealthState.HEALTHY == log.component().state
    assert "1" == writer.batches[0][0].details["entries_lost"]


async def test_a_defect_is_no_words_for_callers(log: AuditLog, writer: HeldWriter) -> None:
    """An unexpected exception is logged, and its words are not shown."""
    writer.error = KeyError("private")
    with pytest.raises(StoreUnavailable) as raised:
        await log.record(Act("keys create"))
    assert "private" not in raised.value.message


async def test_acts_beyond_the_bound_are_refused(log: AuditLog, writer: HeldWriter) -> None:
    """What waits is bounded: notes are lost first, and counted; then acts are refused."""
    writer.go.clear()
    log.note(Act("first"))
    await settle()
    for number in range(MAX_NOTES + 3):
        log.note(Act("note", str(number)))
    assert 3 == log.lost
    waiting = [asyncio.create_task(log.record(Act("act"))) for _ in range(MAX_WAITING - MAX_NOTES)]
    await settle()
    with pytest.raises(Overloaded):
        await log.record(Act("one too many"))
    writer.go.set()
    await asyncio.gather(*waiting)
    assert "3" == writer.batches[1][0].details["entries_lost"]


async def test_left_out_refusals_are_counted_in_the_next_entry(
    log: AuditLog, writer: HeldWriter
) -> None:
    """Their number is in the next entry, whatever it is; also after a write that failed."""
    log.leave_out()
    writer.error = FULL
    with pytest.raises(StoreUnavailable):
        await log.record(Act("keys create"))
    writer.error = None
    log.leave_out()
    await log.record(Act("reload"))
    await log.record(Act("reload"))
    assert {"refusals_left_out": "2", "entries_lost": "1"} == writer.batches[0][0].details
    assert {} == writer.batches[1][0].details


async def test_an_altered_log_is_in_health(log: AuditLog, tmp_path: Path) -> None:
    """What the writer finds altered degrades, with what an operator is to do."""
    await log.record(Act("keys create"))
    (tmp_path / "audit/audit-000001.jsonl").write_bytes(b"")
    await log.record(Act("keys create"))
    found = log.component()
    assert HealthState.DEGRADED == found.state
    assert "shorter than it was" in found.message
    assert "audit verify" in found.message


async def test_closing_writes_what_waits(writer: HeldWriter, tmp_path: Path) -> None:
    """The last entries of a server are not lost."""
    log = AuditLog(writer)
    assert HealthState.UNKNOWN == log.component().state
    log.note(Act("server stop"))
    await log.aclose()
    assert 1 == verdict(tmp_path).entries


async def test_who_no_longer_waits_changes_nothing(log: AuditLog, writer: HeldWriter) -> None:
    """A cancelled act's entry is written all the same, and those beside it are told."""
    writer.go.clear()
    first, second = (asyncio.create_task(log.record(act)) for act in acts(2))
    await settle()
    first.cancel()
    await settle()
    writer.go.set()
    await second
    assert 2 == sum(map(len, writer.batches))
