"""Environments for clients that others wrote: built once, kept in a cache."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BUILD_SECONDS = 600


def cache_dir() -> Path:
    """Where environments are kept; GEMINI_BACKEND_FOREIGN_CACHE moves it."""
    return Path(os.environ.get("GEMINI_BACKEND_FOREIGN_CACHE", str(ROOT / ".cache" / "foreign")))


def python_environment(name: str) -> list[str]:
    """The command of a Python that has the packages of `requirements-NAME.txt`, and no others.

    Raises:
        subprocess.CalledProcessError: If they cannot be installed.
    """
    pinned = HERE / f"requirements-{name}.txt"
    folder = _folder(name, pinned.read_bytes() + sys.version.encode())
    python = folder / "bin" / "python"
    if not _finished(folder):
        venv.create(folder, with_pip=True, clear=True)
        wanted = ["--require-hashes", "--no-deps", "-r", str(pinned)]
        _run([str(python), "-m", "pip", "install", "-q", *wanted], folder)
        _finish(folder)
    return [str(python)]


def node_environment(name: str) -> list[str]:
    """The command of a Node that finds the packages of `node/package-lock.json`.

    Raises:
        subprocess.CalledProcessError: If they cannot be installed.
    """
    source = HERE / "node"
    lock = (source / "package-lock.json").read_bytes()
    folder = _folder(name, lock)
    if not _finished(folder):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(source, folder)
        _run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder)
        _finish(folder)
    # Modules are looked up from where a script lies.
    for script in (HERE / "scripts").glob("*.mjs"):
        shutil.copy(script, folder)
    return ["node"]


def script_path(command: list[str], name: str) -> Path:
    """Where the script called `name` runs under `command`."""
    if command[0] != "node":
        return HERE / "scripts" / name
    lock = (HERE / "node" / "package-lock.json").read_bytes()
    return _folder("node", lock) / name


def _folder(name: str, content: bytes) -> Path:
    return cache_dir() / f"{name}-{hashlib.sha256(content).hexdigest()[:12]}"


def _finished(folder: Path) -> bool:
    return (folder / ".finished").exists()


def _finish(folder: Path) -> None:
    (folder / ".finished").touch()


def _run(command: list[str], folder: Path) -> None:
    subprocess.run(command, cwd=folder, check=True, timeout=BUILD_SECONDS)
