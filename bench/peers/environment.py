"""Each peer has an environment of its own, made from its lock file when it is first needed."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import venv
from pathlib import Path

from bench.programs import ROOT

FOLDER = Path(__file__).parent
HOME = ROOT / ".cache" / "peers"


def install(name: str) -> Path:
    """Makes the environment of `NAME.lock`, unless it exists already; returns its `bin`.

    Raises:
        subprocess.CalledProcessError: pip could not install what the lock file names.
    """
    lock, home = FOLDER / f"{name}.lock", HOME / name
    stamp = home / "installed"
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text() != digest:
        venv.create(home, with_pip=True, clear=True)
        pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, "--no-deps", "--require-hashes", "-r", str(lock)], check=True)
        stamp.write_text(digest)
    return home / "bin"


def path_with(binaries: Path) -> str:
    """Returns the search path with an environment's programs first."""
    return f"{binaries}:{os.environ.get('PATH', '')}"


def free_port() -> int:
    """Returns a port of 127.0.0.1 that nothing listens on, for servers that must be given one."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
