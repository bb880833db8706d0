"""Which mutants are tried: a fixed draw from each listed file."""

from __future__ import annotations

import random
import tomllib
from collections import defaultdict
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cosmic_ray import plugins
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.work_item import MutationSpec

from tools.mutants.places import Unseen, has_meaning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tools.mutants.places import Position

SEED, PER_PLACE = 9, 2
LIST = Path(__file__).with_name("files.toml")
SOURCES, TESTS = Path("server/gemini_backend"), Path("tests")


@dataclass(frozen=True)
class File:
    """A listed file and its tests, relative to the root."""

    path: Path
    tests: tuple[Path, ...]


@dataclass(frozen=True)
class Mutant:
    """One change to one file."""

    file: File
    spec: MutationSpec


def listed(only: str = "") -> list[File]:
    """Return the listed files whose path contains `only`."""
    rows: list[dict[str, Any]] = tomllib.loads(LIST.read_text())["file"]
    return [
        File(SOURCES / row["path"], tuple(TESTS / name for name in row["tests"]))
        for row in rows
        if only in row["path"]
    ]


def drawn(root: Path, files: list[File], per_file: int) -> list[Mutant]:
    """Draw mutants, at most two of each kind at a place, and return them file by file in turn.

    So a run that is cut short lacks mutants of every file alike.
    """
    draws = []
    for file in files:
        chance = random.Random(SEED)  # noqa: S311 - a draw, not a secret
        ways = defaultdict(list)
        for mutant in _every(file, (root / file.path).read_text()):
            ways[_place(mutant.spec)].append(mutant)
        some = [chance.sample(found, min(PER_PLACE, len(found))) for found in ways.values()]
        every = [*chain.from_iterable(some)]
        draws.append(chance.sample(every, min(per_file, len(every))))
    turns = chain.from_iterable(zip_longest(*draws))
    return [mutant for mutant in turns if mutant is not None]


def _place(spec: MutationSpec) -> tuple[str, Position]:
    """Return the kind of operator, and where: `a * b` becomes two other things, not eleven."""
    return spec.operator_name.split("_")[0], spec.start_pos


def _every(file: File, source: str) -> Iterator[Mutant]:
    tree, unseen = get_ast(source), Unseen(source)
    nodes = list(ast_nodes(tree))
    for name in sorted(plugins.operator_names()):
        kind = plugins.get_operator(name)
        if not has_meaning(name) or kind.arguments():
            continue
        operator = kind()
        places = chain.from_iterable(operator.mutation_positions(node) for node in nodes)
        for occurrence, (begin, end) in enumerate(places):
            if begin not in unseen:
                yield Mutant(file, MutationSpec(file.path, name, occurrence, begin, end))
