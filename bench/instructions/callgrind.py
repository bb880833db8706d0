"""Runs a tree's server under callgrind, and reads how many instructions it has executed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.programs import backend_settings, processes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.programs import Service

ADVICE = "bench-instructions needs valgrind; on Debian: apt-get install valgrind"
START_SECONDS, COMMAND_SECONDS = 300.0, 120
# Without the garbage collector: the cost of a collection depends on the heap, and which call it
# falls on is chance.
SERVE = (
    "import gc, runpy; gc.disable(); "
    "runpy.run_module('gemini_backend', run_name='__main__', alter_sys=True)"
)
_TOTALS = re.compile(r"^(?:totals|summary): (\d+)", re.MULTILINE)


class CountError(Exception):
    """The instructions cannot be counted; the message says what to do."""


@dataclass
class CountedServer:
    """A server under callgrind.

    Attributes:
        service: the process.
        folder: where callgrind writes its files.
        dumps: how many it has written.
    """

    service: Service
    folder: Path
    dumps: int = 0

    @property
    def address(self) -> str:
        """HOST:PORT of its gRPC port."""
        return self.service.addresses["grpc"]

    def count_from_now(self) -> None:
        """Begins to count; before, the server runs several times as fast.

        Raises:
            CountError: callgrind did not obey.
        """
        self._command("instrumentation", "on")
        self.taken()

    def taken(self) -> int:
        """Returns the instructions of all threads since this was last asked.

        Raises:
            CountError: callgrind did not obey, or wrote no count.
        """
        self._command("dump")
        self.dumps += 1
        return parse_totals(_out_file(self.folder, self.dumps).read_text(errors="replace"))

    def _command(self, *words: str) -> None:
        pid = f"--pid={self.service.process.pid}"
        limit = f"--cmd-time-out={COMMAND_SECONDS}"
        command = ["vgdb", pid, limit, _prefix(self.folder), *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise CountError(f"callgrind did not obey {words[0]}: {done.stderr[-500:]}")


def parse_totals(dump: str) -> int:
    """Returns the instructions of one of callgrind's files.

    Raises:
        CountError: there is no total in it.
    """
    found = _TOTALS.findall(dump)
    if not found:
        raise CountError("callgrind wrote a file without a total; is the disk full?")
    return int(found[-1])


def check_tools() -> None:
    """Checks that valgrind is installed.

    Raises:
        CountError: it is not.
    """
    if shutil.which("valgrind") is None or shutil.which("vgdb") is None:
        raise CountError(ADVICE)


def environment(tree: Path) -> dict[str, str]:
    """Returns the variables that make this interpreter run the code of `tree`, reproducibly."""
    sources = (tree / "server", tree / "clients" / "python" / "src")
    return {"PYTHONPATH": os.pathsep.join(map(str, sources)), "PYTHONHASHSEED": "0"}


def check_tree(tree: Path) -> None:
    """Checks that it is the code of `tree` that would be counted.

    Raises:
        CountError: there is no server in it.
    """
    code = "import gemini_backend; print(gemini_backend.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment(tree)},
    )
    if done.returncode != 0 or not Path(done.stdout.strip()).is_relative_to(tree / "server"):
        raise CountError(f"there is no server in {tree}: name the root of a checkout")


def start(name: str, tree: Path, upstream: str, folder: Path) -> CountedServer:
    """Starts the server of `tree` in front of the upstream at HOST:PORT; nothing is counted yet.

    It runs on one CPU: callgrind runs one thread at a time, and on several CPUs gRPC's locks would
    spin until the next switch of threads.

    Raises:
        StartError: it did not become ready.
    """
    folder.mkdir(parents=True)
    command = (
        *("taskset", "-c", str(max(os.sched_getaffinity(0)))),
        *("valgrind", "--tool=callgrind", "--instr-atstart=no", "--dump-line=no"),
        *("--fair-sched=try", f"--callgrind-out-file={_out_file(folder)}", _prefix(folder)),
        *(sys.executable, "-c", SERVE, "serve"),
    )
    settings: Mapping[str, str] = {**backend_settings(upstream), **environment(tree)}
    return CountedServer(processes.start(name, command, settings, START_SECONDS), folder)


def _prefix(folder: Path) -> str:
    return f"--vgdb-prefix={folder / 'vgdb'}"


def _out_file(folder: Path, number: int = 0) -> Path:
    return folder / (f"callgrind.out.{number}" if number else "callgrind.out")
