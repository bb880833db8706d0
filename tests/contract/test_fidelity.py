"""docs/fidelity.md: each guarantee names the test that holds it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/fidelity.md").read_text()
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.splitlines()
    if line.startswith("| ") and not line.startswith(("| guarantee", "| ---", "|---"))
]
_TEST = re.compile(r"`(tests/[\w/]+\.py|clients/[\w/]+\.py)::(\w+)`")


def names_in(path: str) -> set[str]:
    """Return the names of a file's tests."""
    tree = ast.parse((ROOT / path).read_text())
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    return {node.name for node in tree.body if isinstance(node, kinds)}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:50])
def test_each_guarantee_names_a_test_that_exists(row: list[str]) -> None:
    """Every row of a table of guarantees has at least one test, by file and name."""
    found = _TEST.findall(row[-1])
    assert found != []
    for path, name in found:
        assert name.startswith("test_")
        assert name in names_in(path)


def test_what_is_not_guaranteed_is_said() -> None:
    """The page has a section for it, with more than one item."""
    section = PAGE.partition("## What is not guaranteed")[2]
    assert section.count("\n- ") > 1
