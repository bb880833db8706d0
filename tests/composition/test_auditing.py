"""Administrative acts pass the whole chain, and leave their entries."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from gemini.backend.v1 import audit_service_pb2, config_service_pb2
from gemini_backend.api.requests.work import work_of
from gemini_backend.audit.files import verify
from gemini_backend.call import Call, Work
from gemini_backend.errors import InvalidRequest, StoreUnavailable
from gemini_backend.telemetry.events import AuthenticationRefused
from tests.support.composed import composed

if TYPE_CHECKING:
    from pathlib import Path

    from gemini_backend.composition.assembly import Assembly

UPDATE = "/gemini.backend.v1.ConfigService/UpdateConfig"
GET = "/gemini.backend.v1.ConfigService/GetConfig"
LIST = "/gemini.backend.v1.AuditService/ListAuditEntries"


def update(number: int) -> config_service_pb2.UpdateConfigRequest:
    """Return a change of one setting."""
    request = config_service_pb2.UpdateConfigRequest(
        update_mask=FieldMask(paths=["retry.max_attempts"])
    )
    request.config.retry.max_attempts = number
    return request


async def ask(assembly: Assembly, method: str, request: Any) -> Any:
    """Call an RPC through the chain."""
    _, service, name = method.split("/", maxsplit=1)[0], *method.rsplit(".", 1)[1].split("/")
    pipeline = assembly.chain.pipeline(work_of(method))
    run = pipeline.unary(getattr(assembly.services[service], name))
    return await run(Call(method, "executions/e1", 0.0, work_of(method), peer="test"), request)


def entries(folder: Path) -> list[dict[str, Any]]:
    file = folder / "audit/audit-000001.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()]


async def test_an_act_is_recorded_and_listed(tmp_path: Path) -> None:
    """A change of the configuration has its entries; to look at them has one as well."""
    parts, assembly = composed(STATE__DIR=str(tmp_path), AUDIT__ENABLED="true")
    await ask(assembly, UPDATE, update(3))
    await ask(assembly, GET, config_service_pb2.GetConfigRequest())
    listed = await ask(assembly, LIST, audit_service_pb2.ListAuditEntriesRequest())
    assert [(2, "OK"), (1, "")] == [(one.sequence, one.code) for one in listed.entries]
    assert ["retry.max_attempts", "retry.max_attempts", ""] == [
        one["target"] for one in entries(tmp_path)
    ]
    parts.base.bus.publish(AuthenticationRefused("peer", "/x", "no key"))
    await parts.aclose()
    assert "authentication" == entries(tmp_path)[3]["action"]
    assert verify(parts.audit.place, parts.audit.key).intact


async def test_invalid_requests_are_no_acts(tmp_path: Path) -> None:
    """What is refused before it begins changes nothing, and has no entry."""
    parts, assembly = composed(STATE__DIR=str(tmp_path), AUDIT__ENABLED="true")
    with pytest.raises(InvalidRequest):
        await ask(assembly, UPDATE, config_service_pb2.UpdateConfigRequest())
    await parts.aclose()
    assert not (tmp_path / "audit").exists()


async def test_without_the_log_nothing_changes(tmp_path: Path) -> None:
    """Where the log cannot be written, the configuration stays as it is."""
    (tmp_path / "audit").write_text("in the way")
    parts, assembly = composed(STATE__DIR=str(tmp_path), AUDIT__ENABLED="true")
    before = parts.base.store.current.retry.max_attempts
    with pytest.raises(StoreUnavailable):
        await ask(assembly, UPDATE, update(before + 1))
    assert before == parts.base.store.current.retry.max_attempts
    await parts.aclose()


async def test_switched_off_it_is_not_there(tmp_path: Path) -> None:
    """No layer, no metric, no component, no file; what there is of a log can still be read."""
    parts, assembly = composed(STATE__DIR=str(tmp_path))
    await ask(assembly, UPDATE, update(3))
    listed = await ask(assembly, LIST, audit_service_pb2.ListAuditEntriesRequest())
    assert [] == list(listed.entries)
    assert "audit" not in {type(one).__name__ for one in assembly.chain.pipeline(Work.ACT).layers}
    assert [] == list(parts.audit.families())
    assert [] == parts.audit.components()
    await parts.aclose()
    assert not (tmp_path / "audit").exists()


async def test_other_rpcs_pass_no_layer_of_it(tmp_path: Path) -> None:
    """Only what is recorded pays for it."""
    parts, assembly = composed(STATE__DIR=str(tmp_path), AUDIT__ENABLED="true")
    layer = parts.audit.layer()
    for work in Work:
        kinds = {type(one) for one in assembly.chain.pipeline(work).layers}
        assert (work is Work.ACT) == (type(layer) in kinds)
    await parts.aclose()
