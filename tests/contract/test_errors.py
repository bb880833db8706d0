"""The error tree and the contract's closed set of reasons.

Covers: errors/backend.py, errors/base.py, errors/caller.py, errors/policy.py, errors/upstream.py
"""

from __future__ import annotations

import inspect

import grpc
import pytest

from gemini.backend.v1.error_details_pb2 import ErrorReason
from gemini_backend import errors
from gemini_backend.errors import ServiceError

LEAVES = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, ServiceError) and hasattr(kind, "reason")
]


@pytest.mark.parametrize("leaf", LEAVES)
def test_every_leaf_has_a_reason_of_the_contract(leaf: type[ServiceError]) -> None:
    """A leaf's reason is a value of `ErrorReason`, and its code is gRPC's."""
    assert f"ERROR_REASON_{leaf.reason}" in ErrorReason.keys()  # noqa: SIM118 - an enum wrapper
    assert leaf.code in {code.value[0] for code in grpc.StatusCode}


def test_no_two_leaves_share_a_reason() -> None:
    """A reason tells exactly one kind of failure."""
    reasons = [leaf.reason for leaf in LEAVES]
    assert sorted(set(reasons)) == sorted(reasons)


@pytest.mark.parametrize("leaf", LEAVES)
def test_the_tree_in_the_docstring_is_the_tree(leaf: type[ServiceError]) -> None:
    """The drawing names each leaf with its code, its reason, and whether a retry helps."""
    retry = "yes" if leaf.retryable else "no"
    (line,) = [
        line for line in (errors.__doc__ or "").splitlines() if f"─ {leaf.__name__} " in line
    ]
    assert [leaf.__name__, leaf.code.name, leaf.reason, retry] == line.split()[-4:]
