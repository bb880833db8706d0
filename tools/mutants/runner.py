"""Runs tests again and again, each time in a fresh child of a process that is already warm.

Reads lines `SECONDS<tab>TEST<tab>TEST...`, answers each with `passed` or `failed`. What others
wrote is imported once, before the children are made; what this repository holds is imported by
each child, so that a changed file is seen.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys

import pytest

HEAVY = (
    "aiohttp",
    "fastdigest",
    "google.protobuf.json_format",
    "grpc.aio",
    "grpc_health.v1.health",
    "hypothesis.strategies",
    "msgspec",
    "prometheus_client",
    "protovalidate",
    "uvloop",
)
OPTIONS = (
    *("-q", "-x", "--tb=no", "-p", "no:cacheprovider", "-p", "no:xdist"),
    *("--hypothesis-profile", "first failure"),
    # A child ends by its own alarm, which a timeout of pytest would take away.
    *("-o", "timeout=0"),
    # What was imported before pytest looked cannot have its assertions rewritten, and need not.
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),
)


def main() -> None:
    """Serve until standard input ends."""
    for name in HEAVY:
        importlib.import_module(name)
    measured: set[tuple[str, ...]] = set()
    for line in sys.stdin:
        seconds, *tests = line.strip().split("\t")
        passed = _passes(int(seconds), tests, compiles=tuple(tests) not in measured)
        measured.add(tuple(tests))
        sys.stdout.write("passed\n" if passed else "failed\n")
        sys.stdout.flush()


def _passes(seconds: int, tests: list[str], *, compiles: bool) -> bool:
    """Run tests in a child; only the first run of any, on unchanged files, keeps compiled ones."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    sys.dont_write_bytecode = not compiles
    signal.alarm(seconds)
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    os._exit(pytest.main([*OPTIONS, *tests]))


if __name__ == "__main__":
    main()
