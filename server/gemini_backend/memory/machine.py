"""How much memory the process may use: what its control groups allow, or what the machine has."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from gemini_backend.sizes import MIB

MOST: Final = 512 * MIB
LEAST: Final = 64 * MIB
_SHARE: Final = 4
_GROUPS = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")


def automatic_bytes(available: int | None = None) -> int:
    """Return the budget for a process: a quarter of `available`, from 64 MiB to 512 MiB.

    Args:
        available: Bytes that the process may use. Default: what this one may.
    """
    if available is None:
        available = available_bytes()
    return min(MOST, max(LEAST, available // _SHARE))


def available_bytes(groups: Path = _GROUPS, own: Path = _OWN) -> int:
    """Return the smallest limit of the process's control groups, or the machine's memory.

    Args:
        groups: Where control groups are mounted.
        own: The file that names the groups of the process.
    """
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([machine, *_limits(groups, own)])


def _limits(groups: Path, own: Path) -> list[int]:
    """Return the limits that can be read; on systems without control groups there are none."""
    files = [groups / "memory.max", groups / "memory" / "memory.limit_in_bytes"]
    for line in _text(own).splitlines():
        name = line.rpartition(":")[2].lstrip("/")
        for folder in (Path(name), *Path(name).parents):
            files.append(groups / folder / "memory.max")
            files.append(groups / "memory" / folder / "memory.limit_in_bytes")
    found = [_text(file).strip() for file in dict.fromkeys(files)]
    return [int(text) for text in found if text.isdigit() and int(text) > 0]


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""
