"""The house measures: what keeps the code in pieces that a reader can hold in mind.

A measure that hurts a clear design is wrong: exempt the place here, with the reason.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
FOLDERS = ("server", "clients/python", "tests", "bench", "tools")
GENERATED = ("clients/python/src/gemini/", "clients/python/src/buf/")
SOURCES = {
    "gemini_backend": ROOT / "server/gemini_backend",
    "gemini_backend_client": ROOT / "clients/python/src/gemini_backend_client",
}
MAX_FILE, USUAL_FILE, MAX_FUNCTION, MAX_PARAMETERS = 400, 150, 50, 7
VAGUE_NAMES = {"util", "utils", "helper", "helpers", "manager", "common", "misc"}

LONG_FUNCTIONS = {
    "server/gemini_backend/composition/chain.py:execution_layers": "one literal list of rows",
    "server/gemini_backend/composition/chain.py:attempt_layers": "one literal list of rows",
}
LONG_SIGNATURES = {
    "server/gemini_backend/api/health.py:__init__": "tells of every part there is",
    "server/gemini_backend/api/metrics.py:__init__": "tells of every part there is",
}

# Attributes of modules that read the real time, wait for it, or draw from the shared source.
REAL_TIME = {
    "time": None,
    "datetime": None,
    "random": {"Random"},
    "asyncio": {
        "CancelledError",
        "Event",
        "FIRST_COMPLETED",
        "Future",
        "Lock",
        "Queue",
        "Semaphore",
        "Task",
        "create_task",
        "current_task",
        "ensure_future",
        "gather",
        "get_running_loop",
        "shield",
        "wait",
    },
}


def files(pattern: str = "*.py") -> list[Path]:
    """Return the hand-written files."""
    found = (path for folder in FOLDERS for path in (ROOT / folder).rglob(pattern))
    return sorted(path for path in found if not shown(path).startswith(GENERATED))


def shown(path: Path) -> str:
    """Return a path as a person writes it."""
    return path.relative_to(ROOT).as_posix()


@cache
def tree(path: Path) -> ast.Module:
    """Return a file's syntax tree."""
    return ast.parse(path.read_text())


def lines(path: Path) -> int:
    """Return how many lines a file has."""
    return len(path.read_text().splitlines())


def functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Yield every function, by file and name."""
    for path in files():
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{shown(path)}:{node.name}", node


def too_much(counts: dict[str, int], limit: int, exempt: dict[str, str]) -> dict[str, int]:
    """Return what is over a limit and not exempt."""
    return {n: count for n, count in counts.items() if count > limit and n not in exempt}


def test_no_file_is_too_long() -> None:
    """Files have at most 400 lines; protos do not count, they are one file a service."""
    counts = {
        shown(path): lines(path)
        for pattern in ("*.py", "*.c", "*.h", "*.mjs")
        for path in files(pattern)
        if "node_modules" not in path.parts
    }
    assert {} == too_much(counts, MAX_FILE, {})


@pytest.mark.parametrize("package", SOURCES)
def test_most_files_are_short(package: str) -> None:
    """Most files of the product have at most 150 lines."""
    counts = [lines(path) for path in SOURCES[package].rglob("*.py")]
    assert median(counts) <= USUAL_FILE


def test_no_function_is_too_long() -> None:
    """Functions have at most 50 lines, docstring included."""
    counts = {name: (node.end_lineno or 0) - node.lineno + 1 for name, node in functions()}
    assert {} == too_much(counts, MAX_FUNCTION, LONG_FUNCTIONS)


def test_no_signature_is_too_long() -> None:
    """Functions take at most 7 parameters, `self` left out."""
    counts = {}
    for name, node in functions():
        given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        counts[name] = len([one for one in given if one.arg not in {"self", "cls"}])
    assert {} == too_much(counts, MAX_PARAMETERS, LONG_SIGNATURES)


def test_no_module_is_named_vaguely() -> None:
    """A module is named for what it is about, not `utils` or `manager`."""
    names = {shown(path): {path.stem, *path.relative_to(ROOT).parts} for path in files()}
    assert [] == [path for path, words in names.items() if words & VAGUE_NAMES]


def nodes(path: Path, *, for_types: bool) -> Iterator[ast.AST]:
    """Yield a file's syntax nodes, those under `if TYPE_CHECKING` only if asked for."""
    waiting: list[ast.AST] = [tree(path)]
    while waiting:
        node = waiting.pop()
        yield node
        typing = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if for_types or not typing:
            waiting.extend(ast.iter_child_nodes(node))


def imports(path: Path, *, for_types: bool) -> Iterator[str]:
    """Yield what a file imports, each name from a module by its full name."""
    for node in nodes(path, for_types=for_types):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_only_rpc_and_the_root_know_grpc() -> None:
    """In the server, only `rpc/` and the composition root import `grpc`, in types or otherwise."""
    root = SOURCES["gemini_backend"]
    knowing = {
        path.relative_to(root).parts[0]
        for path in root.rglob("*.py")
        for name in imports(path, for_types=True)
        if name.partition(".")[0] in {"grpc", "grpc_health", "grpc_reflection", "grpc_channelz"}
    }
    assert {"rpc", "app.py", "composition"} >= knowing


def real_time(path: Path) -> Iterator[str]:
    """Yield where a file reads the real time, waits for it, or draws without a source."""
    for node in nodes(path, for_types=False):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module, name = node.value.id, node.attr
        elif isinstance(node, ast.ImportFrom) and node.module:
            module, name = node.module, node.names[0].name
        else:
            continue
        allowed = REAL_TIME.get(module, {name})
        if name not in (allowed or ()):
            yield f"{shown(path)}:{node.lineno} {module}.{name}"


def test_policies_take_time_and_chance_from_outside() -> None:
    """Policies read the clock and draw from the source that they were given, nothing else."""
    policies = SOURCES["gemini_backend"] / "policies"
    assert [] == [found for path in policies.rglob("*.py") for found in real_time(path)]


def test_every_test_says_its_rule() -> None:
    """Each test has a docstring of one line, the rule that it holds."""
    tests = {
        name: ast.get_docstring(node) or ""
        for name, node in functions()
        if node.name.startswith("test_") and "/test_" in name
    }
    assert [] == [name for name, said in tests.items() if len(said.splitlines()) != 1]
