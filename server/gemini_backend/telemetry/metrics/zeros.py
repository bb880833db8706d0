"""Counts of what has not happened yet: `increase()` sees a burst only if 0 was scraped before it.

A counter is shown at 0 for every value of a label that is one of a closed set. For methods and
their reasons these are the usual pairs: all reasons for methods that ask a model, the common ones
for all others. For a label that names a model, these are the models that the configuration names,
and each one from its first call on, at most `MOST_MODELS` of them: there may be hundreds, and each
has a row for each reason.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from gemini_backend.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

MOST_MODELS = 20
Outcome = tuple[str, str]
"""A code, and a reason; empty for OK and CANCELLED."""

# the methods that ask a model; all others have only the reasons below
_ASKING = ("/Execute", "/Process", "/CountTokens", "/Embed")
_COMMON = frozenset(
    {
        "",
        "CALLER_ALREADY_EXISTS",
        "CALLER_CANCELLED",
        "CALLER_CONFLICT",
        "CALLER_DEADLINE_TOO_SHORT",
        "CALLER_INVALID_REQUEST",
        "CALLER_MALFORMED_MESSAGE",
        "CALLER_MESSAGE_TOO_LARGE",
        "CALLER_NEEDS_RESTART",
        "CALLER_UNKNOWN_MODEL",
        "CALLER_UNKNOWN_RESOURCE",
        "BACKEND_DRAINING",
        "BACKEND_NOT_IMPLEMENTED",
        "BACKEND_STORE_UNAVAILABLE",
        "BACKEND_UNEXPECTED",
    }
)


@cache
def outcomes() -> tuple[Outcome, ...]:
    """Return every way in which a call can end."""
    found = {(kind.code.name, kind.reason) for kind in _kinds(ServiceError)}
    found |= {("OK", ""), ("CANCELLED", ""), ("DEADLINE_EXCEEDED", "CALLER_CANCELLED")}
    return tuple(sorted(found))


def outcomes_of(method: str) -> Iterator[Outcome]:
    """Yield the ways in which calls of a method end: all, or the common ones."""
    asks = method.endswith(_ASKING)
    for code, reason in outcomes():
        if asks or reason in _COMMON:
            yield code, reason


def with_zeros(counted: Mapping[Any, float], rows: Iterable[Any]) -> dict[Any, float]:
    """Return what was counted by labels, and 0 for each of the rows that was not."""
    return {**dict.fromkeys(rows, 0), **counted}


def _kinds(kind: type[ServiceError]) -> Iterator[type[ServiceError]]:
    for one in kind.__subclasses__():
        if hasattr(one, "reason"):
            yield one
        yield from _kinds(one)
