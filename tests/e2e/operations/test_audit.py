"""The audit log of the real server: what is recorded, and attacks on it."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from gemini.backend.v1 import (
    audit_service_pb2,
    audit_service_pb2_grpc,
    config_service_pb2,
    config_service_pb2_grpc,
    health_service_pb2,
    health_service_pb2_grpc,
)
from tests.support.servers.process import run_backend, serving

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.servers.process import Process


def env_of(folder: Path) -> dict[str, str]:
    """Return the environment of a server with its state in a folder."""
    return {"GEMINI_BACKEND_STATE__DIR": str(folder / "state")}


def entries(folder: Path) -> list[dict[str, Any]]:
    file = folder / "state/audit/audit-000001.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()]


def actions(folder: Path) -> list[str]:
    return [one["action"].rpartition(".")[2] for one in entries(folder)]


async def change(server: Process, attempts: int, comment: str = "") -> None:
    """Change a setting of a running server."""
    request = config_service_pb2.UpdateConfigRequest(
        update_mask=FieldMask(paths=["retry.max_attempts"]), comment=comment
    )
    request.config.retry.max_attempts = attempts
    async with grpc.aio.insecure_channel(server.grpc) as channel:
        await config_service_pb2_grpc.ConfigServiceStub(channel).UpdateConfig(request)


async def verified(server: Process) -> Any:
    """Return what the server says of its log."""
    async with grpc.aio.insecure_channel(server.grpc) as channel:
        stub = audit_service_pb2_grpc.AuditServiceStub(channel)
        return await stub.VerifyAuditLog(audit_service_pb2.VerifyAuditLogRequest())


async def test_a_servers_life_is_recorded(tmp_path: Path) -> None:
    """Start, a change with its two entries, a reload by SIGHUP, stop; all of it verifies."""
    file = tmp_path / "config.toml"
    file.write_text("[retry]\nmax_attempts = 3\n")
    async with serving(env_of(tmp_path), "--config", str(file)) as server:
        await change(server, 4, 'more\n{"sequence":1}\x1b[2J')
        file.write_text("[retry]\nmax_attempts = 2\n")
        server.send(signal.SIGHUP)
        for _ in range(100):
            await asyncio.sleep(0.05)
            if "reload" in actions(tmp_path):
                break
        listed = await run_backend("audit", "list", "--json", "--target", server.grpc)
        assert 0 == await server.stop()
    update = "ConfigService/UpdateConfig"
    assert ["server start", update, update, "reload"] == actions(tmp_path)[:4]
    assert "server stop" == actions(tmp_path)[-1]
    begun, done = entries(tmp_path)[1:3]
    assert ("", "OK", "anonymous", "retry.max_attempts") == (
        begun["code"],
        done["code"],
        done["principal"],
        done["target"],
    )
    assert 'more\\n{"sequence":1}\\x1b[2J' == done["details"]["comment"]
    assert "reload" == json.loads(listed.stdout.splitlines()[0])["action"]
    found = await run_backend("audit", "verify", env=env_of(tmp_path))
    assert (0, "") == (found.code, found.stderr)


async def test_truncation_under_a_running_server_is_found(tmp_path: Path) -> None:
    """Entries cut off, also with new ones after them, are missed by server and command."""
    log = tmp_path / "state/audit/audit-000001.jsonl"
    async with serving(env_of(tmp_path)) as server:
        await change(server, 4)
        assert (await verified(server)).intact
        log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:1]))
        assert not (await verified(server)).intact
        await change(server, 5)
        found = await verified(server)
        assert any("missing before entry" in one for one in found.defects)
        async with grpc.aio.insecure_channel(server.grpc) as channel:
            stub = health_service_pb2_grpc.HealthServiceStub(channel)
            health = await stub.GetHealthStatus(health_service_pb2.GetHealthStatusRequest())
        (audit,) = [one for one in health.status.components if one.name == "audit"]
        assert "the audit log was altered" in audit.message
    done = await run_backend("audit", "verify", env=env_of(tmp_path))
    assert 1 == done.code
    assert "missing before entry" in done.stdout


async def test_log_and_head_put_back_under_a_running_server_are_found(tmp_path: Path) -> None:
    """A copy of log and head of an earlier time is noticed by the server that wrote since."""
    state = tmp_path / "state"
    async with serving(env_of(tmp_path)) as server:
        await change(server, 4)
        saved = {
            name: (state / name).read_bytes() for name in ("audit.head", "audit/audit-000001.jsonl")
        }
        await change(server, 5)
        for name, data in saved.items():
            (state / name).write_bytes(data)
        await change(server, 6)
        found = await verified(server)
        assert any("missing before entry" in one for one in found.defects)


async def test_without_its_log_a_server_changes_nothing(tmp_path: Path) -> None:
    """Acts are refused while the log cannot be written; executions and reads go on."""
    async with serving(env_of(tmp_path)) as server:
        await change(server, 4)
        audit = tmp_path / "state/audit"
        audit.rename(tmp_path / "state/elsewhere")
        audit.write_text("in the way")
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await change(server, 5)
        assert grpc.StatusCode.UNAVAILABLE == raised.value.code()
        assert "audit.enabled" in raised.value.details()
        async with grpc.aio.insecure_channel(server.grpc) as channel:
            stub = config_service_pb2_grpc.ConfigServiceStub(channel)
            now = await stub.GetConfig(config_service_pb2.GetConfigRequest())
        assert 4 == now.config.retry.max_attempts
        called = await run_backend("call", "hello", "--target", server.grpc)
        assert 0 == called.code


async def test_refusals_and_commands_are_recorded(tmp_path: Path) -> None:
    """A key made by the command, a wrong key, a key without the role: who, from where, why."""
    env = {**env_of(tmp_path), "GEMINI_BACKEND_AUTH__METHODS": "api_key"}
    made = await run_backend("keys", "create", "--tenant", "acme", "--name", "bob", env=env)
    bob = made.stdout.strip()
    made = await run_backend("keys", "create", "--tenant", "ops", "--role", "admin", env=env)
    admin = {"GEMINI_BACKEND_KEY": made.stdout.strip()}
    async with serving(env) as server:
        for key in (f"{bob}x", bob):
            refused = await run_backend(
                "audit", "list", "--target", server.grpc, env={"GEMINI_BACKEND_KEY": key}
            )
            assert 1 == refused.code
        listed = await run_backend("audit", "list", "--json", "--target", server.grpc, env=admin)
        verified = await run_backend("audit", "verify", "--target", server.grpc, env=admin)
    found = [json.loads(line) for line in listed.stdout.splitlines()]
    by_action = {one["action"]: one for one in reversed(found)}
    assert (0, "UNAUTHENTICATED") == (verified.code, by_action["authentication"]["code"])
    access = by_action["access"]
    assert ("PERMISSION_DENIED", "acme", "bob") == (
        access["code"],
        access["tenant"],
        access["principal"],
    )
    assert "/gemini.backend.v1.AuditService/ListAuditEntries" == access["target"]
    created = by_action["keys create"]
    assert ("OK", "local") == (created["code"], created["peer"])
    assert bob not in str(entries(tmp_path))
    assert bob.rpartition("_")[2] not in str(entries(tmp_path))


async def test_a_server_starts_without_its_log(tmp_path: Path) -> None:
    """Where the log cannot be written from the start on, executions work, and health reports it."""
    (tmp_path / "state").mkdir()
    (tmp_path / "state/audit").write_text("in the way")
    async with serving(env_of(tmp_path)) as server:
        called = await run_backend("call", "hello", "--target", server.grpc)
        assert 0 == called.code
        health = await run_backend("health", "--target", server.grpc)
        assert "the audit log cannot be used" in health.stdout
        assert 0 == await server.stop()
        assert 1 == server.log().count("audit_log_unavailable")
