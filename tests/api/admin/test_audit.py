"""AuditService."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from gemini.backend.v1 import audit_service_pb2 as pb
from gemini_backend.api.admin.audit import AuditService
from gemini_backend.api.messages import token_after
from gemini_backend.audit.entry import Act
from gemini_backend.errors import InvalidRequest, StoreUnavailable
from tests.support.audit_logs import KEY, NOON, place_in, writer_in, written
from tests.support.messages.calls import CALL

if TYPE_CHECKING:
    from pathlib import Path


def service_in(folder: Path) -> AuditService:
    return AuditService(place_in(folder), lambda: KEY)


async def test_entries_are_listed_latest_first(tmp_path: Path) -> None:
    """All that an entry has; pages by tokens."""
    act = Act("/x/Y", "keys/a", "ABORTED", "CALLER_CONFLICT", "acme", "bob", "ipv4:1", {"a": "b"})
    writer_in(tmp_path).append([Act("reload"), act])
    service = service_in(tmp_path)
    first = await service.ListAuditEntries(CALL, pb.ListAuditEntriesRequest(page_size=1))
    expected = pb.AuditEntry(
        sequence=2,
        tenant="acme",
        principal="bob",
        peer="ipv4:1",
        action="/x/Y",
        target="keys/a",
        code="ABORTED",
        reason="CALLER_CONFLICT",
        details={"a": "b"},
    )
    expected.time.FromDatetime(NOON)
    assert [expected] == list(first.entries)
    again = pb.ListAuditEntriesRequest(page_size=1, page_token=first.next_page_token)
    second = await service.ListAuditEntries(CALL, again)
    assert (["reload"], "") == ([one.action for one in second.entries], second.next_page_token)


async def test_entries_can_be_chosen(tmp_path: Path) -> None:
    """By a part of the action, and by the tenant."""
    acts = [Act("/x/KeyService/Create", tenant=tenant) for tenant in ("a", "b")]
    writer_in(tmp_path).append([*acts, Act("reload", tenant="a")])
    service = service_in(tmp_path)

    async def listed(**wanted: str) -> list[int]:
        request = pb.ListAuditEntriesRequest(**wanted)  # type: ignore[arg-type]
        return [one.sequence for one in (await service.ListAuditEntries(CALL, request)).entries]

    assert [2, 1] == await listed(action="KeyService")
    assert [3, 1] == await listed(tenant="a")
    assert [1] == await listed(tenant="a", action="Create")


@pytest.mark.parametrize("key", ["1.3", "9.0", "x", "1.", "..", "1.99999999999999999"])
async def test_a_token_of_others_is_refused(tmp_path: Path, key: str) -> None:
    """A token that does not lead to the end of a line, or not to a file of the log."""
    written(tmp_path, 2)
    request = pb.ListAuditEntriesRequest(page_size=1)
    request.page_token = token_after(key, request)
    with pytest.raises(InvalidRequest, match="page_token was not issued"):
        await service_in(tmp_path).ListAuditEntries(CALL, request)


async def test_an_intact_log_is_verified(tmp_path: Path) -> None:
    """As many entries as there must be, and no defect."""
    written(tmp_path, 300, max_file_bytes=10_000)
    found = await service_in(tmp_path).VerifyAuditLog(CALL, pb.VerifyAuditLogRequest())
    assert pb.VerifyAuditLogResponse(intact=True, entry_count=300, expected_count=300) == found


async def test_an_altered_log_is_an_answer_with_its_defects(tmp_path: Path) -> None:
    """What was found is said in words."""
    written(tmp_path, 3)
    (tmp_path / "audit/audit-000001.jsonl").write_bytes(b"")
    found = await service_in(tmp_path).VerifyAuditLog(CALL, pb.VerifyAuditLogRequest())
    assert (False, 0, 3) == (found.intact, found.entry_count, found.expected_count)
    assert ["entries 1 to 3 are missing at the end"] == list(found.defects)


async def test_files_that_cannot_be_read_are_a_typed_failure(tmp_path: Path) -> None:
    """An operator hears what to fix."""
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit/audit-000001.jsonl").mkdir()
    service = service_in(tmp_path)
    with pytest.raises(StoreUnavailable, match="Is a directory"):
        await service.ListAuditEntries(CALL, pb.ListAuditEntriesRequest())
    with pytest.raises(StoreUnavailable, match="Is a directory"):
        await service.VerifyAuditLog(CALL, pb.VerifyAuditLogRequest())


async def test_a_verification_ends_with_its_caller(tmp_path: Path) -> None:
    """Who leaves stops the thread, so the next one can be verified."""
    written(tmp_path, *[60] * 10)
    service = service_in(tmp_path)
    task = asyncio.create_task(service.VerifyAuditLog(CALL, pb.VerifyAuditLogRequest()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    found = await service.VerifyAuditLog(CALL, pb.VerifyAuditLogRequest())
    assert found.intact
