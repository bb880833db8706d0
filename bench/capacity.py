"""`python -m bench.capacity`: how many streams one process keeps pace with, and at which cost.

Streams of an event every 200 ms are opened at a steady rate, each for 10 s, so that ten times as
many are open as begin each second. It is told when first deltas came, how much of a core and how
much memory the server took; once with the limit by the event loop's delay, once without.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.measures.memory import largest
from bench.programs import Plan, build, percentile, run
from bench.programs.build import ROOT
from bench.programs.processes import StartError, start
from bench.programs.targets import BACKEND, COMMAND, backend_settings, start_upstream
from bench.reports import documents, report

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

DOCUMENT = ROOT / "docs" / "capacity.md"
RATES = (20, 50, 100, 200)
SECONDS, EVENTS = 20, 50  # that streams are opened for; events of each, 200 ms apart
TIMEOUT_SECONDS = 180.0
WITHOUT = {"GEMINI_BACKEND_ADMISSION__MAX_LOOP_DELAY_MS": "0"}
HEADER = "| streams/s | limit | open at a time | first delta p50 / p99, s | cores | MiB | failed |"


@dataclass(frozen=True)
class Step:
    """What was seen at one rate."""

    rate: int
    limited: bool
    most_open: int
    first_p50: float
    first_p99: float
    cores: float
    mib: float
    failed: int

    def line(self) -> str:
        """Returns the row of the table."""
        limit = "by the loop's delay" if self.limited else "none"
        return (
            f"| {self.rate} | {limit} | {self.most_open:,} | {self.first_p50:.2f} / "
            f"{self.first_p99:.2f} | {self.cores:.2f} | {self.mib:.0f} | {self.failed} |"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints; returns 0, or 1 when a server could not be started."""
    parser = argparse.ArgumentParser(prog="python -m bench.capacity", description=__doc__)
    parser.add_argument("--rates", type=int, nargs="+", default=RATES, help="streams a second")
    parser.add_argument("--seconds", type=int, default=SECONDS, help="default %(default)s")
    parser.add_argument("--write-docs", action="store_true", help="put the table into the docs")
    options = parser.parse_args(arguments)
    binaries = build.build()
    lines = [HEADER, "| --- | --- | --- | --- | --- | --- | --- |"]
    try:
        upstream = start_upstream(binaries.upstream)
        try:
            for rate in options.rates:
                for extra in ({}, WITHOUT):
                    total = rate * options.seconds
                    plan = Plan(total, rate=rate, timeout=TIMEOUT_SECONDS, connections=16)
                    step = _measure(upstream.addresses["upstream"], binaries.load, plan, extra)
                    lines.append(step.line())
                    sys.stderr.write(step.line() + "\n")
        finally:
            upstream.stop()
    except StartError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    block = (
        f"Made by `python -m bench.capacity` on {report.machine()}. Each stream has {EVENTS} "
        f"events, 200 ms apart; streams were opened for {options.seconds} s. Upstream and load "
        "client run on the same machine.\n\n"
    ) + "\n".join(lines)
    sys.stdout.write(block + "\n")
    if options.write_docs:
        documents.write(DOCUMENT, block)
    return 0


def _measure(upstream: str, load: Path, plan: Plan, extra: dict[str, str]) -> Step:
    settings = {**backend_settings(upstream), **extra}
    service = start("gemini-backend", [str(COMMAND), "serve"], settings)
    try:
        request = BACKEND.ask(service.addresses["grpc"], f"bench-slowx{EVENTS}", EVENTS)
        before = service.cpu_us()
        with largest(service) as sizes:
            outcome = run(load, request, plan)
        spent = service.cpu_us() - before
    finally:
        service.stop()
    waits = list(outcome.first_us)
    return Step(
        round(plan.rate),
        not extra,
        outcome.peak_open,
        percentile(waits, 50) / 1e6,
        percentile(waits, 99) / 1e6,
        spent / 1e6 / outcome.seconds,
        max(sizes) / 1024,
        outcome.errors,
    )


if __name__ == "__main__":
    sys.exit(main())
