"""What `make mutants` draws from: listed files with their own unit tests, where tests can see."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from tools.mutants.places import Unseen, has_meaning

ROOT = Path(__file__).parents[2]
FILES = tomllib.loads((ROOT / "tools/mutants/files.toml").read_text())["file"]
SOURCE = """\
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from x import Y
@cache
def most(limit: int | None = 3) -> 'Y | 5':
    return limit * 7
"""


@pytest.mark.parametrize("row", FILES, ids=lambda row: row["path"])
def test_each_file_and_its_tests_exist(row: dict[str, str]) -> None:
    """A file stands once in the list, below policies/ or upstream/gemini/, with tests nearby."""
    assert (ROOT / "server/gemini_backend" / row["path"]).exists()
    assert row["path"].startswith(("policies/", "upstream/gemini/"))
    for test in row["tests"]:
        assert (ROOT / "tests" / test).exists()
        assert Path(row["path"]).parts[:2] == Path(test).parts[:2]


def test_fifteen_files_are_listed() -> None:
    """The list has 15 files, each of them once."""
    assert 15 == len({row["path"] for row in FILES}) == len(FILES)


@pytest.mark.parametrize(
    ("what", "seen"),
    [
        ("TYPE_CHECKING:", False),
        ("@", False),
        ("| None", False),
        ("3", True),
        ("5", False),
        ("7", True),
    ],
)
def test_what_no_test_can_see(what: str, seen: bool) -> None:
    """Annotations, imports for types, and caches are left out; defaults and bodies are not."""
    line, text = next((n, text) for n, text in enumerate(SOURCE.splitlines(), 1) if what in text)
    assert seen == ((line, text.index(what)) not in Unseen(SOURCE))


def test_operators_that_say_nothing() -> None:
    """Joins of types and identity with None are left out; other comparisons are not."""
    names = ("ReplaceBinaryOperator_BitOr_Add", "ReplaceComparisonOperator_Is_Eq", "NumberReplacer")
    assert [False, False, True] == [has_meaning(f"core/{name}") for name in names]
