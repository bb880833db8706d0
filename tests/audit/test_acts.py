"""The layer that records administrative acts."""

from __future__ import annotations

import asyncio
import errno
from typing import TYPE_CHECKING, Any

import pytest

from gemini.backend.v1 import audit_service_pb2, key_service_pb2
from gemini_backend.audit.acts import AuditActs, is_recorded
from gemini_backend.audit.log import AuditLog
from gemini_backend.call import Call, Work
from gemini_backend.errors import Conflict, StoreUnavailable
from gemini_backend.principal import AuthMethod, Principal
from tests.support.audit_logs import HeldWriter
from tests.support.clock import settle

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from gemini_backend.audit.entry import Act

ALICE = Principal("acme", "alice", method=AuthMethod.API_KEY, api_key="k1")
CREATE = "/gemini.backend.v1.KeyService/CreateApiKey"
LIST = "/gemini.backend.v1.AuditService/ListAuditEntries"
REQUEST = key_service_pb2.CreateApiKeyRequest(key=key_service_pb2.ApiKey(tenant="acme"))
MADE = key_service_pb2.CreateApiKeyResponse(
    key=key_service_pb2.ApiKey(name="keys/a2"), secret="gbk_a2_secret"
)


class Recorded:
    """The layer, and what was written."""

    def __init__(self, folder: Path) -> None:
        self.writer = HeldWriter(folder)
        self.log = AuditLog(self.writer)
        self.layer = AuditActs(self.log)

    async def run(self, proceed: Callable[..., Any], method: str = CREATE) -> Any:
        call = Call(
            method, "executions/e1", 0.0, Work.ACT, principal=ALICE, peer="ipv4:192.0.2.1:5"
        )
        request = REQUEST if method == CREATE else audit_service_pb2.ListAuditEntriesRequest()
        return await self.layer.unary(call, request, proceed)

    def acts(self) -> list[Act]:
        return [act for batch in self.writer.batches for act in batch]

    def ends(self) -> list[tuple[str, str, str]]:
        return [(act.target, act.code, act.reason) for act in self.acts()]


@pytest.fixture
async def recorded(tmp_path: Path) -> AsyncIterator[Recorded]:
    made = Recorded(tmp_path)
    yield made
    made.writer.go.set()
    await made.log.aclose()


async def made(_call: Call, _request: Any) -> Any:
    return MADE


@pytest.mark.parametrize(
    "method",
    [
        "/gemini.backend.v1.KeyService/Nope",
        "/gemini.backend.v1.KeyService",
        "/grpc.channelz.v1.Channelz/Nope",
    ],
)
def test_what_no_service_has_is_no_act(method: str) -> None:
    """Also where the table of roles has a row for its service: it is refused like any other."""
    assert not is_recorded(method)


async def test_an_act_has_two_entries(recorded: Recorded) -> None:
    """Who, from where, what, to whom; the secret that the answer has is in neither."""
    assert MADE is await recorded.run(made)
    assert [("", "", ""), ("keys/a2", "OK", "")] == recorded.ends()
    first, second = recorded.acts()
    assert (CREATE, "acme", "alice", "ipv4:192.0.2.1:5") == (
        first.action,
        first.tenant,
        first.principal,
        first.peer,
    )
    details = {"act": "e1", "method": "api_key", "tenant": "acme", "api_key": "k1"}
    assert details == first.details == second.details
    assert "secret" not in str(recorded.acts())


async def test_the_act_waits_for_its_entry_and_the_answer_for_the_other(
    recorded: Recorded,
) -> None:
    """Nothing is done, and nothing is answered, before it is on disk."""
    done: list[str] = []

    async def act(_call: Call, _request: Any) -> Any:
        done.append("act")
        recorded.writer.go.clear()
        return MADE

    recorded.writer.go.clear()
    task = asyncio.create_task(recorded.run(act))
    await settle()
    assert [] == done
    recorded.writer.go.set()
    while not done:
        await asyncio.sleep(0.001)
    await settle()
    assert not task.done()
    recorded.writer.go.set()
    assert MADE is await task


async def test_without_the_log_nothing_is_done(recorded: Recorded) -> None:
    """An act that cannot be recorded is refused before it begins."""

    async def never(_call: Call, _request: Any) -> Any:
        pytest.fail("it was done")

    recorded.writer.error = OSError(errno.ENOSPC, "full")
    with pytest.raises(StoreUnavailable, match="audit log cannot be used"):
        await recorded.run(never)


async def test_an_act_whose_end_is_not_recorded_is_no_success(recorded: Recorded) -> None:
    """It was done, and whoever asked hears that its end is not in the log."""

    async def act(_call: Call, _request: Any) -> Any:
        recorded.writer.error = OSError(errno.ENOSPC, "full")
        return MADE

    with pytest.raises(StoreUnavailable, match="the act was done, and its end could not be"):
        await recorded.run(act)
    assert [("", "", "")] == recorded.ends()


@pytest.mark.parametrize(
    ("error", "end"),
    [
        (Conflict("revoked"), ("", "ABORTED", "CALLER_CONFLICT")),
        (KeyError("x"), ("", "INTERNAL", "BACKEND_UNEXPECTED")),
    ],
)
async def test_a_failure_is_recorded_with_its_reason(
    recorded: Recorded, error: Exception, end: tuple[str, str, str]
) -> None:
    """How an act failed is in the log, and the failure is raised, whatever becomes of the entry."""

    async def fails(_call: Call, _request: Any) -> Any:
        raise error

    async def fails_and_so_does_the_disk(_call: Call, _request: Any) -> Any:
        recorded.writer.error = OSError(errno.ENOSPC, "full")
        raise error

    for act in (fails, fails_and_so_does_the_disk):
        with pytest.raises(type(error)):
            await recorded.run(act)
    assert [("", "", ""), end, ("", "", "")] == recorded.ends()


async def test_a_cancelled_act_is_recorded(recorded: Recorded) -> None:
    """Whoever asked has left: the entry says so, and nobody waits for it."""

    async def hangs(_call: Call, _request: Any) -> Any:
        await asyncio.sleep(1000)

    task = asyncio.create_task(recorded.run(hangs))
    while not recorded.acts():
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await recorded.log.aclose()
    assert ("", "CANCELLED", "CALLER_CANCELLED") == recorded.ends()[1]


async def test_a_look_at_the_log_has_one_entry(recorded: Recorded) -> None:
    """It changes nothing: its entry is written before its answer goes out."""

    async def listed(_call: Call, _request: Any) -> Any:
        return audit_service_pb2.ListAuditEntriesResponse()

    await recorded.run(listed, LIST)
    assert [("", "OK", "")] == recorded.ends()
