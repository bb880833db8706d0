"""Counts the parts of a call in one or two trees at the same time, each on a CPU of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.instructions.callgrind import CountError, environment
from bench.instructions.parts import Cost, counted
from bench.programs import ROOT, backend_settings, build_callgrind

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import ExitStack
    from pathlib import Path

LIMIT_SECONDS = 1800


@dataclass
class Running:
    """A count under way.

    Attributes:
        tree: the checkout that is counted.
        folder: where callgrind writes its files.
    """

    tree: Path
    folder: Path
    process: subprocess.Popen[bytes]

    def counts(self) -> dict[str, Cost]:
        """Waits for the end, and returns the counts by name.

        Raises:
            CountError: it failed; the end of its error output is in the message.
        """
        try:
            code = self.process.wait(LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            code = -1
        if code != 0:
            end = (self.folder / "errors").read_text(errors="replace")[-1500:]
            raise CountError(f"the layers of {self.tree} could not be counted:\n{end}")
        return counted(self.folder)


def begin(tree: Path, upstream: str, folder: Path, place: int, running: ExitStack) -> Running:
    """Begins to count the parts of a call in `tree`, on the CPU of that place.

    Raises:
        BuildError: valgrind's headers are missing, or there is no compiler.
    """
    folder.mkdir(parents=True)
    cpus = sorted(os.sched_getaffinity(0))
    command: Sequence[str] = (
        *("taskset", "-c", str(cpus[-1 - place % len(cpus)])),
        *("valgrind", "--tool=callgrind", "--instr-atstart=no", "--dump-line=no"),
        *("--fair-sched=try", f"--callgrind-out-file={folder / 'callgrind.out'}"),
        *(sys.executable, "-m", "bench.instructions.layer_counts"),
        *(upstream, str(build_callgrind())),
    )
    settings = {**os.environ, **backend_settings(upstream), **environment(tree)}
    with (folder / "errors").open("wb") as errors:
        process = subprocess.Popen(command, cwd=ROOT, env=settings, stderr=errors)
    running.callback(_end, process)
    return Running(tree, folder, process)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
        process.wait()
