"""Refused authentication and access in the audit log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_backend.audit.log import AuditLog
from gemini_backend.audit.refusals import Refusals
from gemini_backend.telemetry.events import AccessRefused, AuthenticationRefused, Bus
from tests.support.audit_logs import HeldWriter

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.clock import FakeClock

WRONG = AuthenticationRefused("ipv4:192.0.2.1:5", "/x/Y", "the key is not known")


async def test_a_refusal_has_its_entry(tmp_path: Path, clock: FakeClock) -> None:
    """Who was refused what, and why."""
    writer, bus = HeldWriter(tmp_path), Bus()
    log = AuditLog(writer)
    Refusals(log, lambda: 10, clock).listen(bus)
    bus.publish(WRONG)
    bus.publish(AccessRefused("acme", "bob", "ipv4:192.0.2.1:5", "/x/Y", "needs admin"))
    await log.aclose()
    one, two = (act for batch in writer.batches for act in batch)
    assert ("authentication", "/x/Y", "UNAUTHENTICATED", "CALLER_UNAUTHENTICATED") == one[:4]
    assert ("", "ipv4:192.0.2.1:5", {"why": "the key is not known"}) == (
        one.principal,
        one.peer,
        one.details,
    )
    assert ("access", "/x/Y", "PERMISSION_DENIED", "CALLER_FORBIDDEN", "acme", "bob") == two[:6]


async def test_only_so_many_per_minute_have_entries(tmp_path: Path, clock: FakeClock) -> None:
    """The rest costs a counter; the next entry has their number."""
    writer, bus = HeldWriter(tmp_path), Bus()
    log = AuditLog(writer)
    Refusals(log, lambda: 3, clock).listen(bus)
    for _ in range(10_000):
        bus.publish(WRONG)
    clock.stall(60)
    bus.publish(WRONG)
    await log.aclose()
    written = [act for batch in writer.batches for act in batch]
    assert 4 == len(written)
    assert ["9997"] == [act.details["refusals_left_out"] for act in written if len(act.details) > 1]
    assert 9997 == log.left_out
