"""The server as a process: its first line, its last, and what it says on the way.

Covers: app.py, commands/serve.py, rpc/server.py
"""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from typing import TYPE_CHECKING, Any

import aiohttp
import grpc
import pytest

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import execute_service_pb2_grpc as rpc
from tests.support.layers.inproc import collect
from tests.support.servers.process import run_backend, serving

if TYPE_CHECKING:
    from pathlib import Path

SIMULATED = "answers come from the built-in simulator, not from Gemini: GEMINI_API_KEY is not set"
SERVE = ("serve", "--listen", "127.0.0.1:0", "--web-listen", "127.0.0.1:0")


async def test_the_ready_line_has_the_real_ports() -> None:
    """Port 0 becomes a free port; both ports answer by the time the line is there."""
    async with serving() as server:
        assert {"grpc", "web"} == set(server.ports)
        assert "0" not in {address.rpartition(":")[2] for address in server.ports.values()}
        async with aiohttp.ClientSession(server.web) as session, session.get("/readyz") as answer:
            assert 200 == answer.status
        async with grpc.aio.insecure_channel(server.grpc) as channel:
            answer = await rpc.ExecuteServiceStub(channel).Process(pb.ProcessRequest(prompt="hi"))
        assert answer.candidates


async def test_without_a_key_the_simulator_answers_and_says_so() -> None:
    """One plain line on standard error, and nothing of it on standard output."""
    async with serving() as server:
        await server.stop()
    assert [SIMULATED] == [line for line in server.log().splitlines() if "simulator" in line]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_well(number: signal.Signals) -> None:
    """SIGTERM, and Ctrl-C, end an idle server at once, with exit code 0."""
    async with serving() as server:
        server.send(number)
        assert 0 == await server.ended(5)


async def test_logs_are_json_with_ids_and_without_prompts() -> None:
    """Each line is one object; a call's line has its execution id; no line has what was said."""
    async with serving({"GEMINI_BACKEND_LOGGING__LEVEL": "debug"}) as server:
        async with grpc.aio.insecure_channel(server.grpc) as channel:
            stub: Any = rpc.ExecuteServiceStub(channel)
            request = pb.ExecuteRequest(prompt="Say: swordfish swordfish", request_id="req-7")
            events = await collect(stub.Execute(request))
            whole = await stub.Process(pb.ProcessRequest(prompt="swordfish?"))
            with pytest.raises(grpc.aio.AioRpcError):
                await stub.Process(pb.ProcessRequest(prompt="swordfish [[fault: overloaded]]"))
        await server.stop()
    lines = [json.loads(x) for x in server.log().splitlines() if not x.startswith("answers come")]
    calls = [line for line in lines if line["event"] == "rpc"]
    assert [events[0].execution, whole.execution] == [line["execution"] for line in calls[:2]]
    assert ["OK", "OK", "UNAVAILABLE"] == [line["code"] for line in calls]
    assert "req-7" == calls[0]["request_id"]
    assert "UPSTREAM_UNAVAILABLE" == calls[2]["reason"]
    assert "swordfish" not in server.log()


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("[execution]\ndefault_modle = 'x'\n", "execution.default_model"),
        ("[exection]\ndefault_model = 'x'\n", "execution"),
        ("[execution\n", "TOML"),
        ("[execution]\nmin_deadline_ms = 'soon'\n", "execution.min_deadline_ms"),
        ("[server]\nlisten = '0.0.0.0:0'\n", "without authentication"),
        ("[server]\nlisten = 'here'\n", "HOST:PORT"),
        ("[server]\ntls_cert_file = '/nowhere.pem'\n", "tls_key_file"),
        ("[[interceptors]]\nname = 'nothing'\nbefore = 'deadline'\n", "no entry point 'nothing'"),
    ],
)
async def test_a_wrong_configuration_is_one_sentence(tmp_path: Path, toml: str, said: str) -> None:
    """What is wrong in a file ends the start with exit code 2 and a sentence that names the fix."""
    file = tmp_path / "wrong.toml"
    file.write_text(toml)
    ports = SERVE[3:] if "listen =" in toml else SERVE[1:]
    done = await run_backend("serve", "--config", str(file), *ports)
    assert (2, "", 1) == (done.code, done.stdout, len(done.stderr.splitlines())), done
    assert said in done.stderr
    assert "Traceback" not in done.stderr


async def test_a_wrong_variable_is_one_sentence() -> None:
    """An environment variable that is none of ours is refused with the nearest right name."""
    done = await run_backend(*SERVE, env={"GEMINI_BACKEND_EXECUTION__DEFAULT_MODLE": "x"})
    assert (2, 1) == (done.code, len(done.stderr.splitlines())), done
    assert "GEMINI_BACKEND_EXECUTION__DEFAULT_MODEL" in done.stderr


async def test_gemini_by_name_without_a_key_does_not_start() -> None:
    """It would answer from the simulator what somebody takes for Gemini's: exit code 2."""
    done = await run_backend(*SERVE, env={"GEMINI_BACKEND_UPSTREAM__PROVIDER": "gemini"})
    assert (2, "", 1) == (done.code, done.stdout, len(done.stderr.splitlines())), done
    assert "GEMINI_BACKEND_UPSTREAM__PROVIDER" in done.stderr
    assert "set GEMINI_API_KEY" in done.stderr


@pytest.mark.parametrize("option", ["--listen", "--web-listen"])
async def test_a_taken_port_is_one_sentence(option: str) -> None:
    """A port that somebody else has ends the start with exit code 1, and no ready line."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        arguments = {"--listen": "127.0.0.1:0", "--web-listen": "127.0.0.1:0", option: taken}
        words = [word for pair in arguments.items() for word in pair]
        done = await run_backend("serve", *words, env={"GEMINI_API_KEY": "k"})
    assert (1, "", 1) == (done.code, done.stdout, len(done.stderr.splitlines())), done
    assert f"cannot listen on {taken}" in done.stderr


async def test_two_servers_do_not_share_a_port() -> None:
    """A second server on the first one's port is refused; it takes no calls away from it."""
    async with serving() as first:
        done = await asyncio.wait_for(
            run_backend("serve", "--listen", first.grpc, "--web-listen", "127.0.0.1:0"), 20
        )
    assert 1 == done.code, done
