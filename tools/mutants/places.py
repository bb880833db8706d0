"""Where a mutation changes nothing that a test could see, so that it is not drawn."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

Position = tuple[int, int]

# Operators by the start of their names, with why a survivor of theirs says nothing.
WITHOUT_MEANING = {
    "core/ReplaceBinaryOperator_BitOr_": "`|` joins types and flags here, it computes nothing",
    "core/ReplaceComparisonOperator_Is_Eq": "the same answer for None and for members of enums",
    "core/ReplaceComparisonOperator_IsNot_NotEq": "as Is_Eq",
    "core/ReplaceComparisonOperator_Eq_Is": "the same answer for small numbers and interned text",
    "core/ReplaceComparisonOperator_NotEq_IsNot": "as Eq_Is",
    "core/VariableInserter": "takes arguments; none are given",
    "core/VariableReplacer": "takes arguments; none are given",
}


def has_meaning(operator: str) -> bool:
    """Return whether a survivor of this operator says something of the tests."""
    return not operator.startswith(tuple(WITHOUT_MEANING))


class Unseen:
    """The spans of a file that no test can see.

    Annotations, what is under `TYPE_CHECKING`, and decorators that make things fast or small.
    """

    def __init__(self, source: str) -> None:
        """Read the file."""
        self._spans = [_span(node) for node in _unseen(ast.parse(source))]

    def __contains__(self, position: Position) -> bool:
        """Return whether a position, line from 1 and column from 0, is within one of them."""
        return any(begin <= position < end for begin, end in self._spans)


def _unseen(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation:
            yield node.annotation
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.returns:
            yield node.returns
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            yield node
        yield from (one for one in getattr(node, "decorator_list", ()) if _only_speeds_up(one))


def _only_speeds_up(decorator: ast.expr) -> bool:
    return ast.unparse(decorator).partition("(")[0] in {"cache", "lru_cache", "dataclass"}


def _span(node: ast.AST) -> tuple[Position, Position]:
    # a decorator's own `@` stands before it
    begin = (node.lineno, max(0, node.col_offset - 1))  # type: ignore[attr-defined] # all of these have one
    return begin, (node.end_lineno, node.end_col_offset)  # type: ignore[attr-defined] # as above
