"""The simulator as a process, and what clients that others wrote see of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.foreign import environments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Seen = dict[str, dict[str, Any]]

# Name -> (how its environment is made, its name, its script).
CLIENTS = {
    "google-genai-3": (environments.python_environment, "google-genai-3", "google_genai.py"),
    "google-genai-2": (environments.python_environment, "google-genai-2", "google_genai.py"),
    "google-generativeai": (
        environments.python_environment,
        "google-generativeai",
        "google_generativeai.py",
    ),
    "langchain": (environments.python_environment, "langchain", "langchain.py"),
    "node": (environments.node_environment, "node", "google_genai.mjs"),
}
RUN_SECONDS = 120


@pytest.fixture(scope="session")
def simulator_url() -> Iterator[str]:
    """The address of a simulator in a process of its own."""
    command = [sys.executable, "-m", "gemini_backend", "simulate", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("ready http="), line
        yield "http://" + line.removeprefix("ready http=").strip()
        process.terminate()
        assert process.wait(10) == 0


@pytest.fixture(scope="session")
def seen_by(simulator_url: str) -> Callable[[str], Seen]:
    """What a client saw, by check; each client runs once."""
    done: dict[str, Seen] = {}

    def run(client: str) -> Seen:
        if client not in done:
            done[client] = _run(client, simulator_url)
        return done[client]

    return run


def _run(client: str, url: str) -> Seen:
    make, name, script = CLIENTS[client]
    if client == "node":
        _need_node()
    try:
        command = make(name)
    except (subprocess.SubprocessError, OSError) as error:
        _leave_out(f"the environment of {client} cannot be built: {error}")
    program = [*command, str(environments.script_path(command, script))]
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    result = subprocess.run(
        program,
        env={**clean, "SIMULATOR_URL": url},
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-4000:]
    lines = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
    return {line.pop("check"): line for line in lines}


def _need_node() -> None:
    missing = [tool for tool in ("node", "npm") if shutil.which(tool) is None]
    if missing:
        _leave_out(f"{' and '.join(missing)} not found: install Node.js 20 or newer")


def _leave_out(reason: str) -> None:
    """Skip with a reason; in CI nothing may be left out."""
    if os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(reason)
    pytest.skip(reason)
