"""A reader finds the test of each module of the server: by its name, or by what a test file says.

`policies/flow/quota.py` is tested by `tests/policies/flow/test_quota.py`. A module without a test
of its own name stands behind `Covers:` in the docstring of the test file that covers it.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SERVER, TESTS = ROOT / "server/gemini_backend", ROOT / "tests"
NO_CODE = {"__init__.py", "__main__.py"}
MODULES = {
    path.relative_to(SERVER).as_posix() for path in SERVER.rglob("*.py") if path.name not in NO_CODE
}
_COVERS = re.compile(r"^Covers: ((?:.+\n?)+)", re.MULTILINE)


def covers(docstring: str) -> list[str]:
    """Return what a docstring says that its file covers: paths, with commas between them."""
    found = _COVERS.search(docstring)
    return [one.strip() for one in found[1].split(",")] if found else []


def own_test(module: str) -> Path:
    """Return where a module's test of its own name would be."""
    path = Path(module)
    return TESTS / path.with_name(f"test_{path.name}")


def said() -> Counter[str]:
    """Return what all test files say that they cover."""
    files = TESTS.rglob("test_*.py")
    docstrings = (ast.get_docstring(ast.parse(file.read_text())) or "" for file in files)
    return Counter(one for docstring in docstrings for one in covers(docstring))


def test_every_module_has_its_test() -> None:
    """A module is tested by name, or named by the file that tests it."""
    named = said()
    assert [] == sorted(one for one in MODULES if not own_test(one).exists() and one not in named)


def test_what_is_named_is_there_and_has_no_test_of_its_own() -> None:
    """A path behind `Covers:` is a module's, is named once, and is needed."""
    named = said()
    assert set() == named.keys() - MODULES
    assert [] == sorted(one for one, times in named.items() if times > 1)
    assert [] == sorted(one for one in named if own_test(one).exists())


@pytest.mark.parametrize(
    ("docstring", "expected"),
    [
        ("A rule.", []),
        ("A rule.\n\nCovers: a/b.py", ["a/b.py"]),
        ("A rule.\n\nCovers: a/b.py, c.py,\nd.py\n\nAnd more, too.", ["a/b.py", "c.py", "d.py"]),
    ],
)
def test_what_a_docstring_names(docstring: str, expected: list[str]) -> None:
    """Paths follow the word, over as many lines as it takes."""
    assert expected == covers(docstring)
