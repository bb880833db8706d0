"""The audit log: whatever its files hold, it is read, verified and written, or refused in words."""

from __future__ import annotations

import shutil
import tempfile
from functools import cache
from pathlib import Path

from gemini_backend.audit.files import read_page
from tests.fuzz.draws import Draws
from tests.support.audit_logs import acts, place_in, verdict, writer_in, written

_LIMIT = 600


@cache
def _files() -> dict[str, bytes]:
    """Return the files of a small log."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        written(folder, 1, 2, 1, max_file_bytes=_LIMIT)
        found = [file for file in folder.rglob("*") if file.is_file() and file.name != "lock"]
        return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(found)}


def check(data: bytes) -> None:
    """Change a file of a log: it is found, the log is read all the same, and written on."""
    draws, files = Draws(data), dict(_files())
    name = draws.one_of(sorted(files))
    old = files[name]
    at, end = sorted((draws.below(len(old) + 1), draws.below(len(old) + 1)))
    files[name] = old[:at] + draws.rest() + old[end:]
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    try:
        for each, content in files.items():
            (folder / each).parent.mkdir(exist_ok=True)
            (folder / each).write_bytes(content)
        assert verdict(folder).intact == (files[name] == old), files[name]
        read_page(place_in(folder), None, 10, lambda _entry: True)
        before = len(verdict(folder).defects)
        writer_in(folder, _LIMIT).append(acts(2, 5))
        after = verdict(folder)
        torn = name.endswith(".jsonl") and files[name].startswith(old)
        assert bool(before) == bool(after.defects) or torn, files[name]
    finally:
        shutil.rmtree(folder)
