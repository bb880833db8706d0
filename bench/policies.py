"""`python -m bench.policies`: what the policies cost, all of them and each by itself.

Servers with policies on and off run side by side and are measured in turns, so that what else the
machine does falls on all of them alike.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import TYPE_CHECKING

from bench.measures.rows import ROWS, Bench, Series
from bench.programs.build import BuildError, build
from bench.programs.processes import Service, StartError, start
from bench.programs.targets import COMMAND, Target, ask_backend, backend_settings, start_upstream

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.measures.rows import Row
    from bench.programs.build import Binaries

OFF = {
    "coalesce": {"COALESCE__MODE": "off"},
    "cache": {"CACHE__MODE": "off"},
    "journal": {"JOURNAL__ENABLED": "false"},
    "retry": {"RETRY__ENABLED": "false"},
    "breaker": {"BREAKER__ENABLED": "false"},
    "quota": {"QUOTA__ENABLED": "false"},
    "admission": {"ADMISSION__MAX_CONCURRENT_REQUESTS": "0"},
}
ALL_OFF = {name: value for settings in OFF.values() for name, value in settings.items()}
ROUNDS = 5


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, and prints a table; returns 0, or 1 when it failed."""
    parser = argparse.ArgumentParser(prog="python -m bench.policies", description=__doc__)
    parser.add_argument("--each", action="store_true", help="turn off each policy by itself too")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="rounds, default %(default)s")
    parser.add_argument("--rows", nargs="+", default=[row.key for row in ROWS], help="which rows")
    options = parser.parse_args(arguments)
    rows = [row for row in ROWS if row.key in options.rows]
    variants = {"all on": {}, "all off": ALL_OFF}
    if options.each:
        variants |= {f"without {name}": settings for name, settings in OFF.items()}
    try:
        binaries = build()
        upstream = start_upstream(binaries.upstream)
        try:
            seen = _measure(variants, rows, Tools(upstream, binaries), options.rounds)
        finally:
            upstream.stop()
    except (BuildError, StartError) as error:
        sys.stderr.write(f"bench: {error}\n")
        return 1
    sys.stdout.write(_table(seen, rows))
    return 0


def _start(settings: dict[str, str], upstream: str) -> Service:
    extra = backend_settings(upstream)
    extra |= {f"GEMINI_BACKEND_{name}": value for name, value in settings.items()}
    return start("gemini-backend", [str(COMMAND), "serve"], extra)


@dataclass(frozen=True)
class Tools:
    """What the servers are measured with."""

    upstream: Service
    binaries: Binaries


def _measure(
    variants: dict[str, dict[str, str]], rows: Sequence[Row], tools: Tools, rounds: int
) -> dict[str, dict[str, Series]]:
    """Returns a series for each row of each variant, a value a round."""
    seen = {name: {row.key: Series() for row in rows} for name in variants}
    with ExitStack() as running:
        benches = {}
        for name, settings in variants.items():
            target = Target(name, name, partial(_start, settings), ask_backend)
            service = target.start(tools.upstream.addresses["upstream"])
            running.callback(service.stop)
            benches[name] = Bench(target, service, tools.upstream, tools.binaries.load)
            for row in rows:
                benches[name].warm_up(row)
        for _ in range(rounds):
            for row in rows:
                for name, bench in benches.items():
                    bench.measure(row, 1.0, seen[name][row.key])
    return seen


def _table(seen: dict[str, dict[str, Series]], rows: Sequence[Row]) -> str:
    """Returns CPU µs and, in brackets, the median of the rounds' ratios to all policies off."""
    keys = [row.key for row in rows]
    lines = [["server", *keys], ["---"] * (len(keys) + 1)]
    for name, of_row in seen.items():
        cells = []
        for key in keys:
            base = seen["all off"][key].cpu_us
            pairs = zip(of_row[key].cpu_us, base, strict=True)
            ratio = median(own / other for own, other in pairs)
            failed = f", {of_row[key].errors} errors" if of_row[key].errors else ""
            cells.append(f"{of_row[key].cost():,.0f} ({ratio:.3f}x{failed})")
        lines.append([name, *cells])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
