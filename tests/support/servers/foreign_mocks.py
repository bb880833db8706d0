"""Programs that others wrote, as processes: mocks of the model API, a client of gRPC."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from tests.foreign import environments


def leave_out(reason: str) -> None:
    """Skip with a reason; in CI nothing may be left out."""
    if os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(reason)
    pytest.skip(reason)


def aimock(script: str) -> list[str]:
    """Build the environment of npm's `@copilotkit/aimock`; return the command of a script."""
    return _node(script, "aimock")


def grpc_js(script: str) -> list[str]:
    """Build the environment of npm's `@grpc/grpc-js`; return the command of a script."""
    return _node(script, "grpc-js")


def _node(script: str, environment: str) -> list[str]:
    missing = [tool for tool in ("node", "npm") if shutil.which(tool) is None]
    if missing:
        leave_out(f"{' and '.join(missing)} not found: install Node.js 20 or newer")
    try:
        node = environments.node_environment(environment)
    except (subprocess.SubprocessError, OSError) as error:
        leave_out(f"the environment of {environment} cannot be built: {error}")
    return [*node, str(environments.script_path(node, script, environment))]


def llmock(script: str) -> list[str]:
    """Build the environment of PyPI's `llmock`; return the command of a script."""
    try:
        python = environments.python_environment("llmock")
    except (subprocess.SubprocessError, OSError) as error:
        leave_out(f"the environment of llmock cannot be built: {error}")
    return [*python, str(environments.script_path(python, script))]
