"""Sessions on disk: what a kill, a sweep, a delete leave there; what a bad file does.

Covers: commands/sessions.py
"""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import resource
import shutil
import signal
import sqlite3
import time
from dataclasses import astuple
from typing import TYPE_CHECKING, Any

import aiohttp
import grpc
import pytest

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import execute_service_pb2_grpc as execute_rpc
from gemini.backend.v1 import health_service_pb2 as health
from gemini.backend.v1 import session_service_pb2 as sessions
from gemini.backend.v1 import session_service_pb2_grpc as session_rpc
from gemini_backend.clock import SystemClock
from gemini_backend.principal import Owner
from gemini_backend.stores import sessions_sqlite
from gemini_backend.stores.sessions import NewSession, SessionRow
from gemini_backend.stores.sessions_sqlite import SCHEMA, SqliteSessions
from gemini_backend.stores.sqlite import Database
from tests.support.layers.session_layer import say
from tests.support.messages.failures import failure_of
from tests.support.servers.conversations import (
    Desk,
    answering,
    create,
    exported,
    said,
    state_in,
)
from tests.support.servers.process import (
    AS_IT_COMES,
    run_backend,
    serving,
    simulating,
    upstream_at,
)
from tests.support.upstreams.raw_upstreams import until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.servers.process import Process

# With 10,000 sessions, after a kill.
READY_SECONDS = 2.0


def stores_at(file: Path) -> SqliteSessions:
    """Return the store that a server would have there."""
    return SqliteSessions(Database(file, SCHEMA, clock=SystemClock(), power=False))


async def filled(folder: Path, count: int) -> None:
    """Put sessions of three turns each where a server keeps its state, in one transaction."""
    store, now = stores_at(folder / "sessions.db"), time.time()
    owner = Owner("default", "anonymous")
    turns = [
        sessions.SessionTurn(index=n, inputs=[say("q")], output=say("a", role="model"))
        for n in (1, 2, 3)
    ]
    data = [turn.SerializeToString() for turn in turns]

    def job(db: sqlite3.Connection) -> None:
        for uid in range(1, count + 1):
            kept = SessionRow(f"old{uid}", uid, 1, b"", now, now, now + 10_000, turns=3)
            db.execute(sessions_sqlite._INSERT, (*owner, "", None, None, *astuple(kept)))
            rows = ((uid, number, one) for number, one in enumerate(data, 1))
            db.executemany(sessions_sqlite._ADD_TURN, rows)

    await store.database.run("fill", job, writes=True)
    await store.database.aclose()


async def seconds_to_start(env: dict[str, str]) -> float:
    """Return how long a server takes to be ready, killed each time.

    The best of a few starts, where one is slow: others may be at work on the machine.
    """
    best = math.inf
    for _ in range(5):
        began = time.monotonic()
        async with serving(env) as server:
            best = min(best, time.monotonic() - began)
            await server.stop(signal.SIGKILL)
        if best < READY_SECONDS:
            break
    return best


async def test_a_kill_loses_no_completed_turn(tmp_path: Path) -> None:
    """Killed amid turns, with 10,000 sessions: all that was told as completed is there, at once."""
    await filled(tmp_path, 10_000)
    done: dict[str, list[str]] = {f"sessions/old{number}": [] for number in range(1, 9)}
    async with simulating() as simulator:
        env = state_in(tmp_path, **upstream_at(simulator.http))
        async with serving(env) as server, grpc.aio.insecure_channel(server.grpc) as channel:
            stub: Any = execute_rpc.ExecuteServiceStub(channel)

            async def talk(name: str) -> None:
                for number in itertools.count():
                    request = pb.ExecuteRequest(prompt=f"turn {number}", session=name)
                    async for event in stub.Execute(request):
                        if event.HasField("completed"):
                            done[name].append(event.execution)

            talks = [asyncio.create_task(talk(name)) for name in done]
            await until(_async(lambda: sum(map(len, done.values()))), lambda count: count > 100)
            await server.stop(signal.SIGKILL)
            await asyncio.gather(*talks, return_exceptions=True)
        ready = await seconds_to_start(env)
        async with serving(env) as server, grpc.aio.insecure_channel(server.grpc) as channel:
            service: Any = session_rpc.SessionServiceStub(channel)
            listed = 0
            request = sessions.ListSessionsRequest(page_size=1000)
            while listed == 0 or request.page_token:
                page = await service.ListSessions(request)
                listed += len(page.sessions)
                request.page_token = page.next_page_token
            for name, executions in done.items():
                turns = await exported(service, name)
                assert executions == [turn.execution for turn in turns[3:]][: len(executions)]
                assert len(turns) - 3 - len(executions) in {0, 1}  # kept, and not yet told
                assert list(range(4, len(turns) + 1)) == [turn.index for turn in turns[3:]]
    assert 10_000 == listed
    assert ready < READY_SECONDS


def _async(look: Any) -> Any:
    async def looked() -> Any:
        return look()

    return looked


async def test_expired_sessions_leave_the_disk(tmp_path: Path) -> None:
    """What has expired while no server ran is deleted once one does."""
    store, now = stores_at(tmp_path / "sessions.db"), time.time()
    for uid in range(1, 251):
        kept = SessionRow(f"old{uid}", uid, 1, b"", now - 20, now - 20, now - 10, turns=1)
        await store.create(Owner("t", "p"), NewSession(kept, [b"secret " * 50]), 1000)
    await store.database.aclose()
    async with serving(state_in(tmp_path)) as server:
        await until(_async(lambda: held(tmp_path)), lambda data: b"secret" not in data)
        async with aiohttp.ClientSession(server.web) as web:

            async def metrics() -> str:
                async with web.get("/metrics") as answer:
                    return await answer.text()

            counted = 'session_events_total{event="expired"} 250.0'  # once they are gone
            assert counted in await until(metrics, lambda text: counted in text)


def held(folder: Path) -> bytes:
    """Return all that stands in the files of a folder."""
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


async def test_a_deleted_session_is_gone_from_the_disk(tmp_path: Path) -> None:
    """Nothing that was said can be found in the state folder after DeleteSession."""
    async with (
        serving(state_in(tmp_path)) as server,
        grpc.aio.insecure_channel(server.grpc) as channel,
    ):
        desk = Desk(channel, server, server)
        name = await create(desk.sessions, "private", display_name="Rosalind's case")
        asked = pb.ExecuteRequest(prompt="Rosalind is ill. " * 300, session=name)
        await said(desk.execute, asked, whole=False)
        assert b"Rosalind" in held(tmp_path)
        await desk.sessions.DeleteSession(sessions.DeleteSessionRequest(name=name))
        assert b"Rosalind" not in held(tmp_path)
        assert b"Rosalind" not in server.stderr


async def test_a_server_without_sessions_leaves_the_disk_alone(tmp_path: Path) -> None:
    """As long as nobody uses a session, and without the audit log, no state folder is made."""
    folder = tmp_path / "state"
    async with serving(state_in(folder, GEMINI_BACKEND_AUDIT__ENABLED="false")) as server:
        done = await run_backend("call", "hi", "--target", server.grpc)
    assert (0, False) == (done.code, folder.exists())


def told(server: Process) -> list[dict[str, str]]:
    """Return what a server has written in its log of its stores."""
    lines = [json.loads(line) for line in server.log().splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == "store"]


@pytest.mark.parametrize("trouble", ["damaged", "locked", "in the way", "later"])
async def test_with_a_bad_file_the_rest_goes_on(tmp_path: Path, trouble: str) -> None:
    """A store that cannot be used fails sessions by name, shows in health, and nothing else."""
    file = tmp_path / "sessions.db"
    other = None
    words = {"later": "later version", "in the way": "set state.dir"}.get(trouble, trouble)
    if trouble == "damaged":
        file.write_bytes(b"no database at all " * 100)
    elif trouble == "in the way":
        (tmp_path / "sub").write_text("a file")
        file = tmp_path / "sub" / "sessions.db"
    else:
        other = sqlite3.connect(file, isolation_level=None)
        other.execute("PRAGMA user_version = 9" if trouble == "later" else "BEGIN EXCLUSIVE")
    async with (
        serving(state_in(file.parent)) as server,
        grpc.aio.insecure_channel(server.grpc) as channel,
    ):
        desk = Desk(channel, server, server)
        failure = await failure_of(desk.sessions.CreateSession(sessions.CreateSessionRequest()))
        asked = pb.ProcessRequest(prompt="x", session="sessions/s")
        failed = await failure_of(desk.execute.Process(asked))
        for one in (failure, failed):
            assert (grpc.StatusCode.UNAVAILABLE, "BACKEND_STORE_UNAVAILABLE") == (
                one.code,
                one.reason,
            )
            assert words in one.message
        state, message = await desk.component()
        assert (health.HEALTH_STATE_DEGRADED, True) == (state, words in message)
        assert (await desk.execute.Process(pb.ProcessRequest(prompt="x"))).candidates
        async with aiohttp.ClientSession() as web, web.get(f"{server.web}/readyz") as answer:
            assert (200, "degraded") == (answer.status, (await answer.json())["state"])
        logged = await until(_async(lambda: told(server)), bool)
        assert {str(file)} == {line["file"] for line in logged}
        if trouble == "locked" and other is not None:
            other.execute("COMMIT")
            await create(desk.sessions, "mended")
            assert (health.HEALTH_STATE_HEALTHY, "") == await desk.component()
    if other is not None:
        other.close()


async def test_sessions_in_memory_end_with_the_server(tmp_path: Path) -> None:
    """With store memory nothing is written, and sessions work all the same."""
    off = {"GEMINI_BACKEND_SESSIONS__STORE": "memory", "GEMINI_BACKEND_AUDIT__ENABLED": "false"}
    settings = state_in(tmp_path / "state", **off)
    async with serving(settings) as server, grpc.aio.insecure_channel(server.grpc) as channel:
        desk = Desk(channel, server, server)
        name = await create(desk.sessions, "s")
        await said(desk.execute, pb.ExecuteRequest(prompt="x", session=name), whole=False)
        assert 1 == len(await desk.turns(name))
    assert not (tmp_path / "state").exists()


async def test_a_full_disk_loses_nothing_that_was_told(tmp_path: Path) -> None:
    """Turns fail while there is no room, all else goes on; with room again the session does too."""
    async with (
        serving(state_in(tmp_path)) as server,
        grpc.aio.insecure_channel(server.grpc) as channel,
    ):
        desk = Desk(channel, server, server)
        name = await create(desk.sessions, "full")
        await said(desk.execute, pb.ExecuteRequest(prompt="first", session=name), whole=True)
        none = resource.RLIM_INFINITY
        pid = server.process.pid
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (100_000, none))
        large = pb.ProcessRequest(prompt="large " * 20_000, session=name)
        failure = await failure_of(desk.execute.Process(large))
        assert (grpc.StatusCode.UNAVAILABLE, "BACKEND_STORE_UNAVAILABLE") == (
            failure.code,
            failure.reason,
        )
        assert "check the disk and its free space" in failure.message
        assert "check the disk and its free space" in (await desk.component())[1]
        await desk.execute.Process(pb.ProcessRequest(prompt="without a session"))
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (none, none))
        await said(desk.execute, pb.ExecuteRequest(prompt="second", session=name), whole=True)
        turns = await desk.turns(name)
        assert ["first", "second"] == [turn.inputs[0].parts[0].text for turn in turns]
        assert (health.HEALTH_STATE_HEALTHY, "") == await desk.component()


async def test_a_store_that_cannot_be_written_fails_before_the_model_is_paid(
    tmp_path: Path,
) -> None:
    """Turns are refused without a request upstream; one line of the log, health until a write."""
    async with (
        answering() as upstream,
        serving({**state_in(tmp_path), **upstream_at(upstream.url, **AS_IT_COMES)}) as server,
        grpc.aio.insecure_channel(server.grpc) as channel,
    ):
        desk = Desk(channel, server, server)
        name = await create(desk.sessions, "full")
        await said(desk.execute, pb.ExecuteRequest(prompt="first", session=name), whole=True)
        none = resource.RLIM_INFINITY
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (4096, none))
        paid = len(upstream.asked)
        for prompt in ("a", "b", "c", "d", "e"):
            for whole in (True, False):
                request = pb.ExecuteRequest(prompt=prompt, session=name)
                failure = await failure_of(said(desk.execute, request, whole=whole))
                assert "BACKEND_STORE_UNAVAILABLE" == failure.reason
            assert 1 == len(await desk.turns(name))  # which can still be read
            assert health.HEALTH_STATE_DEGRADED == (await desk.component())[0]
        assert paid == len(upstream.asked)
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (none, none))
        await said(desk.execute, pb.ExecuteRequest(prompt="second", session=name), whole=True)
        assert (health.HEALTH_STATE_HEALTHY, "") == await desk.component()
        await server.stop()
    lines = [json.loads(one) for one in server.log().splitlines() if one.startswith("{")]
    assert ["store", "store_recovered"] == [
        one["event"] for one in lines if one["event"].startswith("store")
    ]


async def test_the_commands_copy_and_restore_a_store(tmp_path: Path) -> None:
    """A copy is made under a running server; it is put back once that has ended."""
    copy, env = tmp_path / "copy.db", state_in(tmp_path / "state")
    (tmp_path / "state").mkdir()
    async with serving(env) as server, grpc.aio.insecure_channel(server.grpc) as channel:
        desk = Desk(channel, server, server)
        name = await create(desk.sessions, "s")
        await said(desk.execute, pb.ExecuteRequest(prompt="first", session=name), whole=True)
        done = await run_backend("sessions", "backup", str(copy), env=env)
        assert (0, f"{copy}: 1 sessions with 1 turns\n") == (done.code, done.stdout)
        await said(desk.execute, pb.ExecuteRequest(prompt="second", session=name), whole=True)
        done = await run_backend("sessions", "restore", str(copy), env=env)
        assert (1, "") == (done.code, done.stdout)
        assert "stop it" in done.stderr
        assert 2 == len(await desk.turns(name))
        await server.stop(signal.SIGKILL)
    done = await run_backend("sessions", "restore", str(copy), env=env)
    assert (0, "") == (done.code, done.stderr)
    async with serving(env) as server, grpc.aio.insecure_channel(server.grpc) as channel:
        assert 1 == len(await Desk(channel, server, server).turns(name))


async def test_a_copy_that_is_put_back_beside_an_old_log_is_refused(tmp_path: Path) -> None:
    """After a crash the log of the former file is not replayed over the copy."""
    copy, env = tmp_path / "copy.db", state_in(tmp_path / "state")
    (tmp_path / "state").mkdir()
    async with serving(env) as server, grpc.aio.insecure_channel(server.grpc) as channel:
        desk = Desk(channel, server, server)
        name = await create(desk.sessions, "s")
        await said(desk.execute, pb.ExecuteRequest(prompt="first", session=name), whole=True)
        await run_backend("sessions", "backup", str(copy), env=env)
        await said(desk.execute, pb.ExecuteRequest(prompt="second", session=name), whole=True)
        await server.stop(signal.SIGKILL)
    shutil.copy(copy, tmp_path / "state" / "sessions.db")
    async with serving(env) as server, grpc.aio.insecure_channel(server.grpc) as channel:
        desk = Desk(channel, server, server)
        failure = await failure_of(desk.turns(name))
        assert "BACKEND_STORE_UNAVAILABLE" == failure.reason
        assert "move sessions.db-wal away" in failure.message
        assert health.HEALTH_STATE_DEGRADED == (await desk.component())[0]
        (tmp_path / "state" / "sessions.db-wal").unlink()
        assert 1 == len(await desk.turns(name))
