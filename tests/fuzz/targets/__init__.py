"""What is fuzzed: each target checks a rule on any bytes, and raises where it does not hold."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

TARGETS = ("sse", "answers", "configuration", "api_keys", "tokens", "rpcs", "audit")


def check_of(target: str) -> Callable[[bytes], None]:
    """Return what checks bytes against the rule of a target.

    Raises:
        ModuleNotFoundError: there is no such target.
    """
    check: Callable[[bytes], None] = import_module(f"tests.fuzz.targets.{target}").check
    return check
