"""Builds, starts and loads what is measured: C programs, processes, targets."""

from __future__ import annotations

from bench.programs import processes
from bench.programs.build import CACHE, ROOT, Binaries, BuildError, build_callgrind, build_upstream
from bench.programs.load import Plan, Request, percentile, run
from bench.programs.processes import Service, StartError, Thread
from bench.programs.targets import (
    BACKEND,
    COMMAND,
    EXECUTE,
    PROCESS,
    PROMPT,
    Target,
    ask_backend,
    backend_settings,
    start_backend,
    start_upstream,
)

__all__ = [
    "BACKEND",
    "CACHE",
    "COMMAND",
    "EXECUTE",
    "PROCESS",
    "PROMPT",
    "ROOT",
    "Binaries",
    "BuildError",
    "Plan",
    "Request",
    "Service",
    "StartError",
    "Target",
    "Thread",
    "ask_backend",
    "backend_settings",
    "build_callgrind",
    "build_upstream",
    "percentile",
    "processes",
    "run",
    "start_backend",
    "start_upstream",
]
