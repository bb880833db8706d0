"""The commands of docs/security.md, run as they stand there, in their order."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import execute_service_pb2_grpc
from tests.support.servers.guarded import bearer, ended_by
from tests.support.servers.process import Finished, clean_environ, run_command, simulating, started

if TYPE_CHECKING:
    from tests.support.servers.process import Process

PAGE = Path(__file__).parents[3] / "docs/security.md"
SECTION = "## Set it up for other machines\n"
UNKNOWN = ("UNAUTHENTICATED", "CALLER_UNAUTHENTICATED")

pytestmark = pytest.mark.skipif(
    shutil.which("openssl") is None or shutil.which("curl") is None,
    reason="openssl and curl are not installed",
)


def blocks() -> list[str]:
    """Return the code of the section, one text per block."""
    section = PAGE.read_text(encoding="utf-8").partition(SECTION)[2].partition("\n## ")[0]
    return [found[1] for found in re.finditer(r"```(?:sh|toml)\n(.*?)```", section, re.DOTALL)]


class Machine:
    """A folder, and a shell that finds `gemini-backend`."""

    def __init__(self, folder: Path, **environ: str) -> None:
        """Work in `folder`."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.folder = folder
        self.environ = {"PATH": path, **environ}
        self.ports: dict[str, str] = {}

    def here(self, text: str) -> str:
        """Return a block with the ports of this run in place of the documented ones."""
        for documented, real in self.ports.items():
            text = text.replace(documented, real)
        return text

    async def run(self, block: str) -> Finished:
        """Run a block of commands, each of which must succeed."""
        script = f"set -euo pipefail\ncd '{self.folder}'\n{self.here(block)}"
        done = await run_command("bash", "-c", script, env=self.environ)
        assert done.code == 0, (block, done)
        return done

    def text(self, name: str) -> str:
        """Return the text of a file, without the end of its line."""
        return (self.folder / name).read_text(encoding="utf-8").strip()


async def _revoked(machine: Machine, server: Process, revoke: str) -> None:
    """Run the block that revokes bob's key, with a stream of his open."""
    root = (machine.folder / "ca.pem").read_bytes()
    credentials = grpc.ssl_channel_credentials(root)
    target = f"localhost:{server.grpc.rpartition(':')[2]}"
    async with grpc.aio.secure_channel(target, credentials) as channel:
        stub: Any = execute_service_pb2_grpc.ExecuteServiceStub(channel)
        request = pb.ExecuteRequest(prompt="Say: " + "word " * 4000)
        stream = aiter(stub.Execute(request, metadata=bearer(machine.text("bob.key"))))
        await anext(stream)

        async def to_the_end() -> None:
            async for _ in stream:
                pass

        ending = asyncio.create_task(ended_by(to_the_end()))
        await machine.run(revoke)
        assert UNKNOWN == await asyncio.wait_for(ending, 5)
        for name, expected in (("ann.key", "OK"), ("ann.new.key", "OK"), ("bob.key", UNKNOWN[0])):
            short = pb.ExecuteRequest(prompt=f"hello from {name}")
            call = stub.Process(short, metadata=bearer(machine.text(name)))
            assert expected == (await ended_by(call))[0], name


async def test_a_stranger_sets_up_tls_and_keys_by_the_page_alone(tmp_path: Path) -> None:
    """Certificates, configuration, keys, calls, rotation, revocation, the audit log."""
    certificates, configuration, keys, serve, calls, revoke, audit = blocks()
    async with simulating("--chunk-delay", "0.1") as api:
        machine = Machine(
            tmp_path,
            GEMINI_API_KEY="k" * 39,
            GEMINI_BACKEND_UPSTREAM__GEMINI__BASE_URL=api.http,
            GEMINI_BACKEND_CONFIG="backend.toml",
        )
        machine.ports = {"0.0.0.0:50051": "0.0.0.0:0", "0.0.0.0:8080": "0.0.0.0:0"}
        await machine.run(certificates)
        (tmp_path / "backend.toml").write_text(machine.here(configuration), encoding="utf-8")
        made = await machine.run(keys)
        secrets = [machine.text(f"{name}.key") for name in ("ada", "ann", "bob")]
        assert not any(secret in made.stdout + made.stderr for secret in secrets)
        assert {"house", "acme", "ada", "ann", "bob"} <= set(made.stdout.split())
        command = ("bash", "-c", f"cd '{tmp_path}' && exec {serve.strip()}")
        async with started(*command, env={**clean_environ(), **machine.environ}) as server:
            machine.ports = {
                "localhost:50051": f"localhost:{server.grpc.rpartition(':')[2]}",
                "localhost:8080": f"localhost:{server.ports['web'].rpartition(':')[2]}",
            }
            called = await machine.run(calls)
            assert called.stdout.startswith("hello\n")
            assert "gemini_backend_tenant_rpcs_total" in called.stdout
            await _revoked(machine, server, revoke)
            told = await machine.run(audit)
            assert "intact" in told.stdout
            for act in ("keys create", "keys rotate", "keys revoke", "authentication"):
                assert act in told.stdout, act
            seen = told.stdout + told.stderr + server.log() + json.dumps(called.stderr)
            assert not any(secret in seen for secret in secrets)
