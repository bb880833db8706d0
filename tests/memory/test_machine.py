"""How much memory the process may use."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from gemini_backend.memory.machine import LEAST, MOST, automatic_bytes, available_bytes
from gemini_backend.sizes import MIB

if TYPE_CHECKING:
    from pathlib import Path

MACHINE = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.mark.parametrize(
    ("available", "expected"),
    [(16 * MIB, LEAST), (1024 * MIB, 256 * MIB), (1024**4, MOST), (2048 * MIB, MOST)],
)
def test_the_automatic_budget_is_a_quarter_within_bounds(available: int, expected: int) -> None:
    """A quarter of what there is, from 64 to 512 MiB."""
    assert expected == automatic_bytes(available)


def test_the_smallest_limit_of_the_groups_counts(tmp_path: Path) -> None:
    """A limit of a group further up holds for the groups in it."""
    own = tmp_path / "cgroup"
    own.write_text("0::/pod/container\n")
    container = tmp_path / "pod" / "container"
    container.mkdir(parents=True)
    (container / "memory.max").write_text("max\n")
    (tmp_path / "pod" / "memory.max").write_text(f"{100 * MIB}\n")
    assert 100 * MIB == available_bytes(tmp_path, own)


def test_without_limits_it_is_the_machine(tmp_path: Path) -> None:
    """No control groups, or none that says anything."""
    own = tmp_path / "cgroup"
    assert MACHINE == available_bytes(tmp_path, own)
    own.write_text("5:memory:/docker/x\n0::/\n")
    assert MACHINE == available_bytes(tmp_path, own)


def test_older_control_groups_are_read_as_well(tmp_path: Path) -> None:
    """The memory controller of version 1 has a folder of its own."""
    folder = tmp_path / "memory" / "docker" / "x"
    folder.mkdir(parents=True)
    (folder / "memory.limit_in_bytes").write_text(f"{64 * MIB}\n")
    own = tmp_path / "cgroup"
    own.write_text("5:cpu,memory:/docker/x\n")
    assert 64 * MIB == available_bytes(tmp_path, own)
