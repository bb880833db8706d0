"""Holds the packages to their rooms: `python -m tools.rooms`.

A room is a package below a layer of the server, or below the client or the benchmark. Rooms with
the same parent are siblings. Each violation is printed with its place and its fix; the exit code
is 1 if there are any. The rules:

- a room holds at most 15 files;
- a module imports from a sibling room only what that room's `__init__` names in `__all__`;
- sibling rooms import each other in one direction only;
- each name in `__all__` of a room exists, means one thing, and is imported from outside;
- files import each other in one direction only, imports for types left out.
"""

from __future__ import annotations

import ast
import sys
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from importlib.util import resolve_name
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

ROOT = Path(__file__).parents[1]
MOST_FILES = 15


@dataclass(frozen=True, slots=True)
class House:
    """A package that is divided into rooms.

    Args:
        folder: Where the package is, from the root of the repository.
        layered: Whether its own packages are layers, whose imports `lint-imports` checks.
    """

    folder: str
    layered: bool = False


HOUSES = (
    House("server/gemini_backend", layered=True),
    House("clients/python/src/gemini_backend_client"),
    House("bench"),
    House("tools"),
)


@dataclass(frozen=True, slots=True)
class Import:
    """A name that a file imports: `from module import name`, or a whole module, without a name."""

    module: str
    name: str
    line: int
    for_types: bool


@dataclass(frozen=True, slots=True)
class File:
    """A Python file, as its imports see it.

    Args:
        module: The name under which it is imported.
        package: The package that it is in; its own name if it is an `__init__`.
        names: What it defines or imports at its top level.
        exported: The strings of its `__all__`, each with its line.
    """

    path: str
    module: str
    package: str
    imports: tuple[Import, ...]
    names: frozenset[str]
    exported: Mapping[str, int]


@dataclass(frozen=True, slots=True, order=True)
class Violation:
    """A broken rule: where, what is wrong, and what to do about it."""

    path: str
    line: int
    message: str

    def __str__(self) -> str:
        """Return the violation as one line, as compilers write it."""
        return f"{self.path}:{self.line}: {self.message}"


def _imports(node: ast.AST, package: str, *, for_types: bool = False) -> Iterator[Import]:
    """Yield the imports of a syntax tree, relative ones by their full names."""
    if isinstance(node, ast.Import):
        yield from (Import(alias.name, "", node.lineno, for_types) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        module = resolve_name("." * node.level + (node.module or ""), package)
        for alias in node.names:
            yield Import(module, alias.name, alias.lineno, for_types)
    typing = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    for child in ast.iter_child_nodes(node):
        yield from _imports(child, package, for_types=for_types or typing)


def _names(tree: ast.Module) -> Iterator[str]:
    """Yield the names that exist at the top level of a module."""
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            yield from (one.id for one in ast.walk(node) if isinstance(one, ast.Name))


def _exported(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Yield the strings of `__all__`, each with its line."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            for one in ast.walk(node.value):
                if isinstance(one, ast.Constant):
                    yield str(one.value), one.lineno


def read(root: Path, house: House) -> dict[str, File]:
    """Return the files of a house, by the name under which each is imported."""
    folder = root / house.folder
    files = {}
    for path in sorted(folder.rglob("*.py")):
        steps = (folder.name, *path.relative_to(folder).with_suffix("").parts)
        package = ".".join(steps[:-1])
        module = package if steps[-1] == "__init__" else ".".join(steps)
        tree = ast.parse(path.read_text())
        files[module] = File(
            path=path.relative_to(root).as_posix(),
            module=module,
            package=package,
            imports=tuple(_imports(tree, package)),
            names=frozenset(_names(tree)),
            exported=dict(_exported(tree)),
        )
    return files


class Rooms:
    """The rules, applied to one house."""

    def __init__(self, root: Path, house: House) -> None:
        """Read the house."""
        self._files = read(root, house)
        self._lowest = 2 if house.layered else 1  # names of a parent of rooms have this many steps

    def violations(self) -> Iterator[Violation]:
        """Yield what breaks a rule."""
        yield from self._full_rooms()
        yield from self._ways_past_the_entry()
        yield from self._circles_of_rooms()
        yield from self._dead_names()
        yield from self._circles_of_files()

    def _full_rooms(self) -> Iterator[Violation]:
        for room in self._packages():
            count = sum(file.package == room.module for file in self._files.values())
            if count > MOST_FILES:
                yield Violation(
                    room.path,
                    1,
                    f"{room.module} has {count} files, {MOST_FILES} are allowed: "
                    "move those that serve one purpose into a room of their own",
                )

    def _ways_past_the_entry(self) -> Iterator[Violation]:
        for file, one, room in self._between_siblings():
            entry = self._files.get(room)
            if one.module != room or not one.name:
                fix = f"import it from {room}, and name it in __all__ there"
                what = f"{one.module}.{one.name}" if one.name else one.module
                yield Violation(file.path, one.line, f"{what} is inside of a sibling room: {fix}")
            elif entry is None or one.name not in entry.exported:
                fix = f"add it to __all__ of {room}, or do without it"
                message = f"{one.name} is no part of the entry of the sibling room {room}: {fix}"
                yield Violation(file.path, one.line, message)

    def _circles_of_rooms(self) -> Iterator[Violation]:
        places: dict[tuple[str, str], tuple[str, int]] = {}
        for file, one, room in self._between_siblings():
            own = ".".join(file.package.split(".")[: len(room.split("."))])
            places.setdefault((own, room), (file.path, one.line))
        for circle in _circles(places):
            path, line = places[circle[0], circle[1]]
            message = (
                f"sibling rooms import each other in a circle, {' -> '.join(circle)}: "
                "move what both need into a room of its own or into their parent"
            )
            yield Violation(path, line, message)

    def _dead_names(self) -> Iterator[Violation]:
        wanted = {
            (one.module, one.name)
            for file in self._files.values()
            for one in file.imports
            if not _inside(file.package, one.module)
        }
        for room in self._packages():
            if len(room.module.split(".")) <= self._lowest:
                continue
            inside = {one.name for one in room.imports if one.module == room.module}
            for name, line in room.exported.items():
                if name not in room.names:
                    message = "does not exist: define it, import it, or remove it from __all__"
                elif f"{room.module}.{name}" in self._files and name not in inside:
                    message = "is also a file of the room: rename the file"
                elif (room.module, name) not in wanted:
                    message = "is imported from nowhere outside of the room: remove it from __all__"
                else:
                    continue
                yield Violation(room.path, line, f"{name} {message}")

    def _circles_of_files(self) -> Iterator[Violation]:
        places: dict[tuple[str, str], tuple[str, int]] = {}
        for file in self._files.values():
            for one in file.imports:
                if not one.for_types:
                    for module in self._run_by(file, one):
                        places.setdefault((file.module, module), (file.path, one.line))
        for circle in _circles(places):
            path, line = places[circle[0], circle[1]]
            message = (
                f"files import each other in a circle, {' -> '.join(circle)}: "
                "move what both need into a file of its own"
            )
            yield Violation(path, line, message)

    def _packages(self) -> Iterator[File]:
        return (file for file in self._files.values() if file.module == file.package)

    def _target(self, one: Import) -> str:
        """Return the module that an import takes from; empty if it is not of the house."""
        whole = f"{one.module}.{one.name}"
        return next((name for name in (whole, one.module) if name in self._files), "")

    def _run_by(self, file: File, one: Import) -> Iterator[str]:
        """Yield the modules that Python runs before an import is done."""
        target = self._target(one)
        steps = target.split(".")
        for count in range(1, len(steps)):
            package = ".".join(steps[:count])
            if package in self._files and not _inside(file.package, package):
                yield package
        if target and target != file.module:
            yield target

    def _between_siblings(self) -> Iterator[tuple[File, Import, str]]:
        """Yield the imports from sibling rooms, each with the room that it goes to."""
        for file in self._files.values():
            own = file.package.split(".")
            for one in file.imports:
                target = self._files.get(self._target(one))
                if target is None:
                    continue
                other = target.package.split(".")
                pairs = zip(own, other, strict=False)
                same = next((n for n, (a, b) in enumerate(pairs) if a != b), 0)
                if same >= self._lowest:
                    yield file, one, ".".join(other[: same + 1])


def _inside(package: str, other: str) -> bool:
    """Return whether a package is another one, or below it."""
    return f"{package}.".startswith(f"{other}.")


def _circles(edges: Iterable[tuple[str, str]]) -> Iterator[list[str]]:
    """Yield circles of a graph, each from its first name back to it, until none is left."""
    graph: dict[str, dict[str, None]] = {}
    for start, end in sorted(edges):
        graph.setdefault(start, {})[end] = None
    while True:
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            nodes: list[str] = error.args[1][:0:-1]
            first = nodes.index(min(nodes))
            circle = [*nodes[first:], *nodes[:first], nodes[first]]
            yield circle
            del graph[circle[0]][circle[1]]
        else:
            return


def violations(root: Path = ROOT, houses: Iterable[House] = HOUSES) -> list[Violation]:
    """Return what breaks a rule, by place."""
    return sorted(found for house in houses for found in Rooms(root, house).violations())


def main(root: Path = ROOT) -> int:
    """Print what breaks a rule; return the exit code."""
    found = violations(root)
    for one in found:
        print(one)  # noqa: T201 - a command prints
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
