"""The configuration outlasts the process, follows its file, and leaves open streams alone."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from gemini.backend.v1 import config_service_pb2 as pb
from gemini.backend.v1 import config_service_pb2_grpc as rpc
from gemini.backend.v1 import execute_service_pb2 as execute_pb
from gemini.backend.v1 import execute_service_pb2_grpc as execute_rpc
from tests.support.servers.process import Process, run_backend, serving, started

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

ATTEMPTS = "retry.max_attempts"
WATCH_SECONDS = 2.0
SLOW = "hello [[fault: chunk_delay seconds=0.1]]"


@asynccontextmanager
async def configured(folder: Path, text: str = "", **more: str) -> AsyncIterator[Process]:
    """Run a server with a file and a state of its own."""
    file = folder / "backend.toml"
    if text or not file.exists():
        file.write_text(text)
    env = {"GEMINI_BACKEND_STATE__DIR": str(folder / "state"), **more}
    async with serving(env, "--config", str(file)) as server:
        yield server


@asynccontextmanager
async def config_of(server: Process) -> AsyncIterator[Any]:
    """Return a stub of ConfigService."""
    async with grpc.aio.insecure_channel(server.grpc) as channel:
        yield rpc.ConfigServiceStub(channel)


@asynccontextmanager
async def asking(folder: Path, text: str = "", **more: str) -> AsyncIterator[tuple[Process, Any]]:
    """Run a server; return it with a stub of its ConfigService."""
    async with configured(folder, text, **more) as server, config_of(server) as config:
        yield server, config


def attempts(number: int, **more: Any) -> pb.UpdateConfigRequest:
    """Return a change of one setting."""
    return pb.UpdateConfigRequest(
        config=pb.BackendConfig(retry=pb.RetryConfig(max_attempts=number)),
        update_mask=FieldMask(paths=[ATTEMPTS]),
        **more,
    )


def lines(server: Process, event: str) -> list[dict[str, Any]]:
    """Return the lines of the log with this event."""
    found = [json.loads(line) for line in server.log().splitlines() if line.startswith("{")]
    return [line for line in found if line["event"] == event]


async def until_attempts(config: Any, number: int, seconds: float = WATCH_SECONDS) -> None:
    """Wait until a value is in effect.

    Raises:
        AssertionError: it is not within `seconds`, and a second for a busy machine.
    """
    end = time.monotonic() + seconds + 1
    while (await config.GetConfig(pb.GetConfigRequest())).config.retry.max_attempts != number:
        assert time.monotonic() < end, f"{ATTEMPTS} is not {number} after {seconds} s"
        await asyncio.sleep(0.05)


async def test_a_killed_server_keeps_what_it_answered(tmp_path: Path) -> None:
    """After kill -9 in the middle of changes, the latest answered one is in effect."""
    async with asking(tmp_path, "[retry]\nmax_attempts = 2\n") as (server, config):
        for number in (3, 4, 5):
            answered = await config.UpdateConfig(attempts(number, comment=f"to {number}"))
        unanswered = asyncio.ensure_future(config.UpdateConfig(attempts(7)))
        await asyncio.sleep(0)
        server.send(signal.SIGKILL)
        await asyncio.gather(unanswered, return_exceptions=True)
    async with asking(tmp_path) as (server, config):
        now = await config.GetConfig(pb.GetConfigRequest())
        assert now.config.retry.max_attempts in {5, 7}
        history = await config.ListConfigRevisions(pb.ListConfigRevisionsRequest())
        told = {one.revision: one for one in history.revisions}
        kept = told[answered.revision]
        assert (answered.etag, "to 5", "default/anonymous", [ATTEMPTS]) == (
            kept.etag,
            kept.comment,
            kept.author,
            list(kept.override_paths),
        )
        await config.RollbackConfig(pb.RollbackConfigRequest(revision=1))
        await until_attempts(config, 2)


async def test_damage_ends_the_start_with_a_sentence(tmp_path: Path) -> None:
    """Exit code 2 and one sentence that names file, line and fix; `config check` finds it too."""
    async with asking(tmp_path) as (_, config):
        await config.UpdateConfig(attempts(3))
    file = tmp_path / "state" / "config" / "revisions.jsonl"
    file.write_bytes(file.read_bytes().replace(b"anonymous", b"somebody_"))
    env = {"GEMINI_BACKEND_STATE__DIR": str(tmp_path / "state")}
    for command in (("serve", "--listen", "127.0.0.1:0"), ("config", "check")):
        ended = await run_backend(*command, env=env)
        assert (2 if command[0] == "serve" else 1) == ended.code
        assert f"{file} is damaged: line 2" in ended.stderr
        assert "move it away" in ended.stderr
    file.unlink()
    async with asking(tmp_path) as (_, config):
        assert 6 == (await config.GetConfig(pb.GetConfigRequest())).config.retry.max_attempts


async def test_a_changed_file_is_taken_within_two_seconds(tmp_path: Path) -> None:
    """Written in place or replaced; a wrong one changes nothing and is logged once."""
    file = tmp_path / "backend.toml"
    async with asking(tmp_path, "[retry]\nmax_attempts = 2\n") as (server, config):
        await asyncio.to_thread(file.write_text, "[retry]\nmax_attempts = 3\n")
        await until_attempts(config, 3)
        wrong = "[logging]\nlevel = 'error'\n[retry]\nmax_attempts = 0\n"
        await asyncio.to_thread(file.write_text, wrong)
        await asyncio.sleep(2 * WATCH_SECONDS)
        now = await config.GetConfig(pb.GetConfigRequest())
        assert (3, "info") == (now.config.retry.max_attempts, now.config.logging.level)
        assert ["retry.max_attempts is 0"] == [
            line["reason"].partition(" (")[0] for line in lines(server, "config_not_reloaded")
        ]
        other = tmp_path / "other.toml"
        await asyncio.to_thread(other.write_text, "[retry]\nmax_attempts = 4\n")
        await asyncio.to_thread(other.replace, file)
        await until_attempts(config, 4)
        history = await config.ListConfigRevisions(pb.ListConfigRevisionsRequest())
        assert ["file", "file", "start"] == [one.author for one in history.revisions]


async def test_links_of_kubernetes_are_followed(tmp_path: Path) -> None:
    """A link that is turned to another folder is a changed file."""
    for name, number in (("one", 3), ("two", 4)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "backend.toml").write_text(f"[retry]\nmax_attempts = {number}\n")
    (tmp_path / "..data").symlink_to("one")
    (tmp_path / "backend.toml").symlink_to("..data/backend.toml")
    async with asking(tmp_path) as (_, config):
        await until_attempts(config, 3)
        (tmp_path / "..new").symlink_to("two")
        (tmp_path / "..new").replace(tmp_path / "..data")
        await until_attempts(config, 4)


async def test_the_watch_can_be_switched_off(tmp_path: Path) -> None:
    """Then only SIGHUP takes a changed file, and overrides outrank it in any case."""
    off = {"GEMINI_BACKEND_REVISIONS__WATCH_FILE": "false"}
    async with asking(tmp_path, **off) as (server, config):
        await config.UpdateConfig(attempts(5))
        text = "[retry]\nmax_attempts = 3\n[fallback]\nmodels = ['gemini-a']\n"
        await asyncio.to_thread((tmp_path / "backend.toml").write_text, text)
        await asyncio.sleep(WATCH_SECONDS)
        assert [] == list((await config.GetConfig(pb.GetConfigRequest())).config.fallback.models)
        server.send(signal.SIGHUP)
        while not lines(server, "config_hidden"):
            await asyncio.sleep(0.02)
        now = (await config.GetConfig(pb.GetConfigRequest())).config
        assert (["gemini-a"], 5) == (list(now.fallback.models), now.retry.max_attempts)
        (hidden,) = lines(server, "config_hidden")
        assert {ATTEMPTS: "the override of revision 2"} == hidden["settings"]


async def test_no_stream_is_dropped_by_a_change(tmp_path: Path) -> None:
    """Streams that are open during updates, a rollback and a reload end whole, as others do."""
    async with (
        asking(tmp_path) as (server, config),
        grpc.aio.insecure_channel(server.grpc) as channel,
    ):
        stub: Any = execute_rpc.ExecuteServiceStub(channel)

        async def stream() -> tuple[str, str]:
            request = execute_pb.ExecuteRequest(prompt=SLOW)
            events = [event async for event in stub.Execute(request, timeout=60)]
            text = "".join(part.text for one in events for part in one.delta.parts)
            return text, events[-1].WhichOneof("event")

        whole = await stream()
        streams = [asyncio.create_task(stream()) for _ in range(30)]
        await asyncio.sleep(0.1)
        first = (await config.UpdateConfig(attempts(4))).revision
        limits = pb.BackendConfig()
        limits.execution.idle_timeout_seconds = 0.01
        limits.admission.max_concurrent_requests = 1
        limits.hedge.enabled = True
        mask = FieldMask(
            paths=[
                "execution.idle_timeout_seconds",
                "admission.max_concurrent_requests",
                "hedge.enabled",
            ]
        )
        await config.UpdateConfig(pb.UpdateConfigRequest(config=limits, update_mask=mask))
        await config.RollbackConfig(pb.RollbackConfigRequest(revision=first))
        server.send(signal.SIGHUP)
        assert not any(one.done() for one in streams)
        assert {(whole[0], "completed")} == set(await asyncio.gather(*streams))


async def test_the_command_changes_a_running_server(tmp_path: Path) -> None:
    """Set, history, diff and rollback against the server; show finds the override on disk."""
    env = {"GEMINI_BACKEND_STATE__DIR": str(tmp_path / "state")}
    async with configured(tmp_path) as server:
        target = ("--target", server.grpc)
        done = await run_backend("config", "set", f"{ATTEMPTS}=4", "--comment", "why", *target)
        assert (0, f"{ATTEMPTS} = 4\nrevision 2\n") == (done.code, done.stdout)
        shown = await run_backend("config", "show", "--changed", env=env)
        assert f"{ATTEMPTS} = 4  # update (revision 2)\n" in shown.stdout
        listed = await run_backend("config", "history", *target)
        assert "default/anonymous  retry.max_attempts  why" in listed.stdout.splitlines()[1]
        differs = await run_backend("config", "diff", "1", "2", *target)
        assert f"{ATTEMPTS}: 6 -> 4\n" == differs.stdout
        refused = await run_backend("config", "set", "server.max_message_mb=8", *target)
        assert (1, True) == (refused.code, "server.max_message_mb is read only" in refused.stderr)
        back = await run_backend("config", "rollback", "1", *target)
        assert (0, f"{ATTEMPTS} = 6\nrevision 3\n") == (back.code, back.stdout)


async def test_a_full_disk_refuses_a_change(tmp_path: Path) -> None:
    """No file may grow: the change is UNAVAILABLE and not in effect; the server goes on."""
    serve = f"exec {sys.executable} -m gemini_backend serve"
    ports = "--listen 127.0.0.1:0 --web-listen 127.0.0.1:0"
    env = {
        "GEMINI_BACKEND_STATE__DIR": str(tmp_path / "state"),
        "GEMINI_BACKEND_AUDIT__ENABLED": "false",
    }
    command = f"trap '' XFSZ; ulimit -f 0; {serve} {ports}"
    async with started("bash", "-c", command, env=env) as server, config_of(server) as config:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await config.UpdateConfig(attempts(4))
        assert grpc.StatusCode.UNAVAILABLE is caught.value.code()
        assert "revisions.jsonl cannot be written (File too large)" in str(caught.value.details())
        now = await config.GetConfig(pb.GetConfigRequest())
        assert (6, 1) == (now.config.retry.max_attempts, now.revision)
