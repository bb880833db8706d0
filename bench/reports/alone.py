"""A measurement of the report, run by itself."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, TypeVar

import grpc.aio

from bench.programs import BuildError, StartError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")


def run_alone(
    name: str,
    about: str | None,
    measure: Callable[[], T],
    tell: Callable[[T], bool],
    arguments: Sequence[str] | None,
) -> int:
    """Measures and prints; returns 0, or 1 when it failed or, with --check, the goal is missed.

    Args:
        name: of the module.
        about: what it measures.
        measure: measures.
        tell: prints what was found; returns whether the goal is kept.
        arguments: of the command line.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {name}", description=about)
    parser.add_argument("--check", action="store_true", help="exit 1 when the goal is missed")
    options = parser.parse_args(arguments)
    try:
        found = measure()
    except (BuildError, StartError, grpc.aio.AioRpcError) as error:
        sys.stderr.write(f"bench: {error}\n")
        return 1
    kept = tell(found)
    return 1 if options.check and not kept else 0
