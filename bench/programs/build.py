"""Compiles the two C programs of the benchmark, once for each version of their source."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "bench"
NATIVE = ROOT / "bench" / "native"
FLAGS = ("-std=gnu11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Werror")
ADVICE = (
    "the benchmark needs a C compiler and nghttp2's headers; "
    "on Debian: apt-get install gcc libc6-dev libnghttp2-dev"
)


class BuildError(Exception):
    """A C program of the benchmark cannot be built; the message names the fix."""


@dataclass(frozen=True)
class Binaries:
    """Where the compiled programs are."""

    upstream: Path
    load: Path


def build() -> Binaries:
    """Compiles what is not compiled yet.

    Raises:
        BuildError: no compiler, no nghttp2, or code that the compiler refuses.
    """
    return Binaries(
        upstream=build_upstream(),
        load=_compile("load", ("load.c", "load_http.c", "load_grpc.c"), ("-lnghttp2", "-lm")),
    )


def build_upstream() -> Path:
    """Compiles the upstream alone, where it is not compiled yet; it needs no nghttp2.

    Raises:
        BuildError: no compiler, or code that the compiler refuses.
    """
    return _compile("upstream", ("upstream.c", "timers.c", "replies.c"), ())


def build_callgrind() -> Path:
    """Compiles the library that speaks to callgrind, where it is not compiled yet.

    Raises:
        BuildError: no compiler, or valgrind's headers are not installed.
    """
    return _compile("callgrind.so", ("callgrind.c",), ("-shared", "-fPIC"))


def _compile(name: str, sources: tuple[str, ...], libraries: tuple[str, ...]) -> Path:
    compiler = shutil.which("cc")
    if compiler is None:
        raise BuildError(ADVICE)
    texts = [path.read_bytes() for path in sorted(NATIVE.iterdir())]
    digest = hashlib.sha256(b"".join(texts)).hexdigest()[:12]
    target = CACHE / f"{name}-{digest}"
    if target.exists():
        return target
    CACHE.mkdir(parents=True, exist_ok=True)
    paths = [str(NATIVE / source) for source in sources]
    command = [compiler, *FLAGS, "-o", str(target), *paths, *libraries]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        message = f"cc refused {name}: {ADVICE}\n{done.stderr[-2000:]}"
        raise BuildError(message)
    return target
