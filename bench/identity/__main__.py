"""`python -m bench.identity`: what knowing a caller costs, and what its time says of a secret."""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bench.identity import timing
from bench.identity.costs import costs
from bench.identity.credentials import known
from bench.programs import ROOT
from bench.reports import documents

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.identity.costs import Cost
    from bench.identity.timing import Difference

DOCUMENT = ROOT / "docs" / "performance.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints; returns 0, or 1 when, with --check, a limit is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.identity", description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit 1 when a limit is missed")
    parser.add_argument("--write-docs", action="store_true", help=f"put the tables into {DOCUMENT}")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        taken, keys, naive = asyncio.run(_measured(Path(folder)))
    text = "\n".join(_report(taken, keys, naive))
    sys.stdout.write(text + "\n")
    if options.write_docs:
        documents.write(DOCUMENT, text, "identity")
    good = all(one.kept for one in taken) and not any(one.significant for one in keys)
    return 1 if options.check and not (good and all(one.significant for one in naive)) else 0


async def _measured(folder: Path) -> tuple[list[Cost], list[Difference], list[Difference]]:
    prepared = await known(folder)
    try:
        taken = await costs(prepared)
        groups = timing.wrong(prepared.secret)
        keys = timing.differences(prepared.keys.known, groups)
        naive = timing.differences(timing.control(prepared.secret), groups)
    finally:
        await prepared.aclose()
    return taken, keys, naive


def _report(
    taken: Sequence[Cost], keys: Sequence[Difference], naive: Sequence[Difference]
) -> Iterator[str]:
    yield "| who calls | µs | limit |  |"
    yield "| --- | --- | --- | --- |"
    for cost in taken:
        limit = "" if cost.limit is None else f"≤ {cost.limit:.0f}"
        verdict = "" if cost.limit is None else "kept" if cost.kept else "**missed**"
        yield f"| {cost.what} | {cost.µs:.1f} | {limit} | {verdict} |"
    yield ""
    yield "| secrets of one key, wrong in one character | difference of the means | t |  |"
    yield "| --- | --- | --- | --- |"
    for name, found in (("API keys", keys), ("control", naive)):
        for one in found:
            verdict = "significant" if one.significant else "not significant"
            ns = f"{one.nanoseconds:+.1f} ns (± {one.error:.1f})"
            yield f"| {name}: {one.what} | {ns} | {one.t:+.1f} | {verdict} |"
    yield ""
    machine = f"{os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}"
    yield f"{machine}. Significant is |t| > {timing.LIMIT} (Welch's t-test)."


if __name__ == "__main__":
    sys.exit(main())
