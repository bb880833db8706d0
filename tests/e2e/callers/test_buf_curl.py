"""A tool that others wrote: `buf curl` finds its way by reflection alone.

Covers: rpc/contract.py
"""

from __future__ import annotations

import base64
import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from google.rpc.error_details_pb2 import ErrorInfo

from tests.support.servers.process import Finished, run_command

if TYPE_CHECKING:
    from tests.support.servers.process import Process

pytestmark = pytest.mark.asyncio(loop_scope="module")

BUF = shutil.which("buf", path=str(Path(sys.executable).parent))
EXECUTE = "gemini.backend.v1.ExecuteService/Execute"
HEALTH = "grpc.health.v1.Health/Check"
SERVICES = ("Batch", "Config", "Execute", "File", "Health", "Metrics", "Model", "Session")


async def curl(server: Process, *arguments: str, path: str = "") -> Finished:
    """Run `buf curl` against the server."""
    assert BUF is not None, "buf is not installed: run make test, which sets it up"
    how = ("--http2-prior-knowledge", "--protocol", "grpc")
    return await run_command(BUF, "curl", *how, *arguments, f"http://{server.grpc}/{path}")


def said(done: Finished) -> list[Any]:
    """Return the JSON values on standard output, one after the other."""
    decoder, text, found = json.JSONDecoder(), done.stdout.strip(), []
    while text:
        value, end = decoder.raw_decode(text)
        found.append(value)
        text = text[end:].lstrip()
    return found


async def test_reflection_lists_the_services(server: Process) -> None:
    """All services of the contract are there, health and reflection beside them."""
    done = await curl(server, "--list-services")
    assert 0 == done.code, done
    listed = set(done.stdout.split())
    assert {f"gemini.backend.v1.{name}Service" for name in SERVICES} <= listed
    assert "grpc.health.v1.Health" in listed
    assert any(name.startswith("grpc.reflection.") for name in listed)


@pytest.mark.parametrize(
    "service", ["", "liveness", *(f"gemini.backend.v1.{name}Service" for name in SERVICES)]
)
async def test_health_is_serving(server: Process, service: str) -> None:
    """The whole, the process, and each service say SERVING."""
    done = await curl(server, "-d", json.dumps({"service": service}), path=HEALTH)
    assert [{"status": "SERVING"}] == said(done), done


async def test_an_unknown_service_has_no_health(server: Process) -> None:
    """NOT_FOUND for what is not there, as the standard service has it."""
    done = await curl(server, "-d", '{"service": "no.such.Service"}', path=HEALTH)
    assert "not_found" in done.stderr
    assert 0 != done.code


async def test_execute_streams(server: Process) -> None:
    """Events come as JSON messages, from the first to the last."""
    done = await curl(server, "-d", '{"prompt": "Write a haiku about rivers"}', path=EXECUTE)
    events = said(done)
    assert ("started", "completed") == tuple(
        next(key for key in event if key not in {"execution", "sequence"})
        for event in (events[0], events[-1])
    )
    assert any("delta" in event for event in events)


async def test_an_unknown_model_is_a_typed_error(server: Process) -> None:
    """The status has a code, a message with the fix, and details with the reason."""
    data = '{"prompt": "hi", "model": "models/gemini-none"}'
    done = await curl(server, "-d", data, path=EXECUTE)
    error = json.loads(done.stderr)
    assert "not_found" == error["code"]
    assert "gemini-none" in error["message"]
    packed = {detail["type"]: detail["value"] for detail in error["details"]}
    info = ErrorInfo.FromString(base64.b64decode(packed["google.rpc.ErrorInfo"] + "=="))
    assert ("gemini.backend", "CALLER_UNKNOWN_MODEL") == (info.domain, info.reason)
