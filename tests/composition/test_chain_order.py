"""What a layer reads has been written when it reads it: the rows say which, the order keeps it.

Covers: policies/chain.py
"""

from __future__ import annotations

import ast
import inspect
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gemini_backend.policies.chain import Kind
from gemini_backend.policies.relay import Hook
from tests.support.composed import built_in_chain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gemini_backend.policies.chain import Layer

CHAIN = list(built_in_chain(SEMANTIC_CACHE__ENABLED="true", CHAOS__ENABLED="true"))
POLICIES = [row for row in CHAIN if row.layer is not None]
# Fields of the call that layers further out set for those further in.
INWARD = ("call.", "request.")
# Pairs of reader and writer whose order is the other way round, each with its reason.
ELSEWISE = {
    ("breaker", "session", "outcome.queued_seconds"): "reads what one attempt has added",
    ("breaker", "retry", "outcome.queued_seconds"): "reads what one attempt has added",
    ("admission", "retry", "outcome.queued_seconds"): "says how long it has waited so far",
    ("admission", "session", "outcome.queued_seconds"): "says how long it has waited so far",
    ("admission", "quota", "outcome.queued_seconds"): "says how long it has waited so far",
    ("coalesce", "journal", "outcome.cut_short"): "each has runs of its own",
    ("prepare", "validate", "outcome.sketch"): "is made once for each request, known by it",
    ("capability", "validate", "outcome.sketch"): "is made once for each request, known by it",
    ("capability", "prepare", "outcome.sketch"): "is made once for each request, known by it",
    ("continuation", "fallback", "outcome.attempts"): "looks for the latest that has answered",
}
# What adopting a shared run's outcome writes.
ADOPTED = {"outcome.trailers", "outcome.attempts", "outcome.hops", "outcome.queued_seconds"}
# What the doors set before the chain, and the upstream inside of it.
OUTSIDE = {"call.attempts", "call.budget", "call.large", "outcome.attempts", "answer.usage"}
CHANGES = {"append", "extend", "update", "clear"}


@pytest.mark.parametrize("reader", POLICIES, ids=lambda row: row.name)
def test_what_is_read_has_been_written(reader: Layer) -> None:
    """What comes from further out is first written there; all that comes from further in is."""
    wrong = []
    place = CHAIN.index(reader)
    for field in reader.reads:
        writers = [at for at, row in enumerate(CHAIN) if field in row.writes and row is not reader]
        if field.startswith(INWARD):
            if field not in OUTSIDE and writers and min(writers) > place:
                wrong.append((CHAIN[min(writers)].name, field))
            continue
        wrong += [
            (CHAIN[at].name, field)
            for at in writers
            if at < place and (reader.name, CHAIN[at].name, field) not in ELSEWISE
        ]
    assert [] == wrong


def test_whatever_is_read_is_written_by_somebody() -> None:
    """No row reads a field of the answer or the call that no row, door or upstream writes."""
    written = {field for row in CHAIN for field in row.writes | row.writes_alone} | OUTSIDE
    assert set() == {field for row in CHAIN for field in row.reads} - written


@pytest.mark.parametrize("row", POLICIES, ids=lambda row: row.name)
def test_rows_say_what_the_code_does(row: Layer) -> None:
    """What a layer does with outcome, budget, key and size of a call is what its row says."""
    reads, writes = found_in(row)
    tracked = ("outcome.", "call.attempts", "call.budget", "call.bound_to", "call.large")
    said_reads = {field for field in row.reads if field.startswith(tracked)}
    said_writes = {field for field in row.writes | row.writes_alone if field.startswith(tracked)}
    assert (reads, writes) == (said_reads, said_writes)


def found_in(row: Layer) -> tuple[set[str], set[str]]:
    """Return the fields that a layer's own modules read, and those that they write."""
    reads: set[str] = set()
    writes: set[str] = set()
    for module in _modules(type(row.layer).__module__):
        for field, stored in _accesses(module):
            (writes if stored else reads).add(field)
    return reads, writes


def _modules(start: str) -> set[str]:
    """Return a module and those of its room that it rests on."""
    room, found, waiting = start.rpartition(".")[0], set(), [start]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        for node in ast.walk(_tree(name)):
            if isinstance(node, ast.ImportFrom) and node.module:
                here = node.module
                names = [here] if here != room else [f"{room}.{a.name}" for a in node.names]
                waiting += [one for one in names if one.rpartition(".")[0] == room]
    return found


@cache
def _tree(module: str) -> ast.Module:
    return ast.parse(Path(inspect.getfile(import_module(module))).read_text())


def _accesses(module: str) -> Iterator[tuple[str, bool]]:
    """Yield each field of outcome, budget and key that a module touches, and whether it writes."""
    parents = {
        child: node for node in ast.walk(_tree(module)) for child in ast.iter_child_nodes(node)
    }
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr == "narrowed":
                yield from ((f"call.{one.arg}", True) for one in node.keywords)
            if node.func.attr == "adopt":
                yield from ((field, True) for field in ADOPTED)
            if node.func.attr == "remaining":
                yield "call.budget", False
        if not isinstance(node, ast.Attribute):
            continue
        if "outcome" in {getattr(node.value, "attr", ""), getattr(node.value, "id", "")}:
            yield from _outcome(node, parents)
        elif _is_call(node.value) and node.attr in {"deadline", "budget"}:
            yield "call.budget", False
        elif _is_call(node.value) and node.attr in {"bound_to", "attempts", "large"}:
            yield f"call.{node.attr}", False


def _outcome(node: ast.Attribute, parents: dict[ast.AST, ast.AST]) -> Iterator[tuple[str, bool]]:
    field, parent = f"outcome.{node.attr}", parents[node]
    if isinstance(node.ctx, ast.Store):
        yield field, True  # `+=` only adds: whose turn comes first does not matter
    elif isinstance(parent, ast.Attribute) and parent.attr in CHANGES:
        yield field, True
    elif field != "outcome.adopt":
        yield field, False


def _is_call(node: ast.expr) -> bool:
    name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
    return name in {"call", "_call", "own", "other", "flight"}


@pytest.mark.parametrize("row", POLICIES, ids=lambda row: row.name)
def test_a_row_says_of_what_kind_its_layer_is(row: Layer) -> None:
    """What is called a hook is one and runs the rest once; a wrapper is none."""
    assert (row.kind is Kind.HOOK) == isinstance(row.layer, Hook)
