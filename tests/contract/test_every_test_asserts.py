"""Every test states something: it asserts, by itself or by a function of its own file."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted(
    file
    for folder in ("tests", "clients/python/tests")
    for file in (ROOT / folder).rglob("test_*.py")
)
Function = ast.FunctionDef | ast.AsyncFunctionDef


def states(node: ast.AST) -> bool:
    """Say whether a function has an assertion in its own body."""
    return any(
        isinstance(one, ast.Assert)
        or (
            isinstance(one, ast.Attribute) and ast.unparse(one) in {"pytest.raises", "pytest.warns"}
        )
        for one in ast.walk(node)
    )


def calls(node: ast.AST) -> set[str]:
    """Return the functions of the same file that a function calls, by name."""
    called = (one.func for one in ast.walk(node) if isinstance(one, ast.Call))
    return {one.id for one in called if isinstance(one, ast.Name)}


def silent(source: str) -> list[str]:
    """Return the tests of a file that state nothing."""
    functions = {node.name: node for node in ast.parse(source).body if isinstance(node, Function)}
    stating = {name for name, node in functions.items() if states(node)}
    return [
        name
        for name, node in functions.items()
        if name.startswith("test_") and name not in stating and not calls(node) & stating
    ]


def test_every_test_states_something() -> None:
    """That nothing is raised is stated, too: by what is there instead."""
    found = {str(file.relative_to(ROOT)): silent(file.read_text()) for file in FILES}
    assert {} == {name: tests for name, tests in found.items() if tests}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("work()", ["test_it"]),
        ("assert work()", []),
        ("with pytest.raises(ValueError): work()", []),
        ("for one in work(): held(one)", []),
        ("one.held()", ["test_it"]),
    ],
)
def test_what_states_something(body: str, expected: list[str]) -> None:
    """An assertion, an expected failure, or a function of the file that has one of them."""
    held = "def held(one):\n    assert one\n"
    assert expected == silent(f"{held}async def test_it():\n    {body}\n")
