"""Environments for clients that others wrote: built once, kept in a cache."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import venv
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BUILD_SECONDS = 600

# Where environments are kept. Read once: the tests clear such variables for what they test.
CACHE = Path(os.environ.get("GEMINI_BACKEND_FOREIGN_CACHE", str(ROOT / ".cache" / "foreign")))


def python_environment(name: str) -> list[str]:
    """The command of a Python that has the packages of `requirements-NAME.txt`, and no others.

    Raises:
        subprocess.CalledProcessError: If they cannot be installed.
    """
    pinned = HERE / f"requirements-{name}.txt"
    folder = _folder(name, pinned.read_bytes() + sys.version.encode())
    python = folder / "bin" / "python"
    with _building(folder) as needed:
        if needed:
            venv.create(folder, with_pip=True, clear=True)
            wanted = ["--require-hashes", "--no-deps", "-r", str(pinned)]
            _run([str(python), "-m", "pip", "install", "-q", *wanted], folder)
    return [str(python)]


def node_environment(name: str) -> list[str]:
    """The command of a Node that finds the packages of `NAME/package-lock.json`.

    Raises:
        subprocess.CalledProcessError: If they cannot be installed.
    """
    source = HERE / name
    lock = (source / "package-lock.json").read_bytes()
    folder = _folder(name, lock)
    with _building(folder) as needed:
        if needed:
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(source, folder)
            quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
            _run(["npm", "ci", *quiet], folder)
        # Modules are looked up from where a script lies. A script may change while they do not;
        # it is replaced whole, since another test may be reading it.
        for script in (HERE / "scripts").glob("*.mjs"):
            fresh = folder / f"{script.name}.{os.getpid()}"
            shutil.copy(script, fresh)
            fresh.replace(folder / script.name)
    return ["node"]


def script_path(command: list[str], name: str, environment: str = "node") -> Path:
    """Where the script called `name` runs under `command`; for Node, in its `environment`."""
    if command[0] != "node":
        return HERE / "scripts" / name
    lock = (HERE / environment / "package-lock.json").read_bytes()
    return _folder(environment, lock) / name


def _folder(name: str, content: bytes) -> Path:
    return CACHE / f"{name}-{hashlib.sha256(content).hexdigest()[:12]}"


@contextmanager
def _building(folder: Path) -> Iterator[bool]:
    """Whether `folder` must be built; one process at a time may look, and build."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    finished = folder / ".finished"
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield not finished.exists()
        finished.touch()


def _run(command: list[str], folder: Path) -> None:
    subprocess.run(command, cwd=folder, check=True, timeout=BUILD_SECONDS)
