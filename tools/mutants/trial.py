"""One mutant against its file's tests, in a copy of the tree."""

from __future__ import annotations

import difflib
import os
import queue
import shutil
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from cosmic_ray import plugins
from cosmic_ray.mutating import mutate_code

if TYPE_CHECKING:
    from pathlib import Path

    from tools.mutants.draw import File, Mutant

COPIED = ("server", "clients", "protos", "tests", "tools", "bench", "pyproject.toml")
# A mutant that makes tests this many times slower hangs, by all that can be told.
PATIENCE, LEAST_SECONDS = 8, 20


@dataclass(frozen=True)
class Outcome:
    """What became of a mutant; `diff` is empty where none could be made."""

    file: File
    killed: bool
    seconds: float
    diff: str


class Trials:
    """Copies of the tree, each with a process that runs tests in it."""

    def __init__(self, root: Path, kept: Path, count: int) -> None:
        """Take the tree at `root`; the copies go below `kept`."""
        self._root, self._kept, self._count = root, kept, count
        self._free: queue.Queue[_Copy] = queue.Queue()
        self._copies: list[_Copy] = []
        self._usual: dict[File, float] = {}

    def __enter__(self) -> Self:
        """Make the copies and start their processes."""
        for number in range(self._count):
            copy = _Copy(self._root, self._kept / f"copy-{number}")
            self._copies.append(copy)
            self._free.put(copy)
        return self

    def __exit__(self, *_: object) -> None:
        """End the processes; the copies stay, to be looked at."""
        for copy in self._copies:
            copy.close()

    def measure(self, file: File) -> None:
        """Run the tests of an unchanged file in each copy, which also warms its caches.

        Raises:
            RuntimeError: they fail, so that no mutant could be judged by them.
        """
        for copy in self._copies:
            begun = time.monotonic()
            if not copy.passes(file, 10 * LEAST_SECONDS):
                raise RuntimeError(f"the tests of {file.path} fail without any mutation")
            self._usual[file] = time.monotonic() - begun

    def run(self, mutant: Mutant, ends: float) -> Outcome | None:
        """Try one mutant; None if it is too late for that."""
        if time.monotonic() > ends:
            return None
        copy = self._free.get()
        try:
            return copy.tried(mutant, max(LEAST_SECONDS, PATIENCE * self._usual[mutant.file]))
        finally:
            self._free.put(copy)


class _Copy:
    """One copy of the tree, and its process."""

    def __init__(self, root: Path, place: Path) -> None:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        for name in COPIED:
            copied = shutil.copytree if (root / name).is_dir() else shutil.copy
            copied(root / name, place / name)
        self._place = place
        sources = f"{place}/server:{place}/clients/python/src"
        self._runner = subprocess.Popen(  # noqa: S603 - all our own
            [root / ".venv" / "bin" / "python", "-m", "tools.mutants.runner"],
            cwd=place,
            env={**os.environ, "PYTHONPATH": sources},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._asking, self._answers = self._runner.stdin, self._runner.stdout

    def close(self) -> None:
        """End the process."""
        self._runner.communicate()

    def passes(self, file: File, seconds: float) -> bool:
        """Return whether a file's tests pass within these seconds.

        Raises:
            KeyError: the process that runs tests has ended.
        """
        print(f"{seconds:.0f}", *file.tests, sep="\t", file=self._asking, flush=True)
        return {"passed": True, "failed": False}[self._answers.readline().strip()]

    def tried(self, mutant: Mutant, seconds: float) -> Outcome:
        """Write a mutant, run the tests, put the file back."""
        file, spec = mutant.file, mutant.spec
        path = self._place / file.path
        before = path.read_text()
        operator = plugins.get_operator(spec.operator_name)()
        after = mutate_code(before, operator, spec.occurrence)
        begun = time.monotonic()
        try:
            path.write_text(after)
            killed = not self.passes(file, seconds)
        finally:
            path.write_text(before)
        return Outcome(file, killed, time.monotonic() - begun, _diff(mutant, before, after))


def _diff(mutant: Mutant, before: str, after: str) -> str:
    name = str(mutant.file.path)
    changes = difflib.unified_diff(before.split("\n"), after.split("\n"), name, name, lineterm="")
    return "\n".join([f"# {mutant.spec.operator_name}", *changes, ""])
