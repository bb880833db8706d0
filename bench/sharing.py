"""`python -m bench.sharing`: what a follower of a shared stream costs, against a stream of its own.

One server, two loads in turns: as many streams open at a time, all alike or all different.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.measures.comparisons import Comparison, comparison_table
from bench.measures.rows import ROWS, Bench, Series
from bench.programs.build import BuildError, build
from bench.programs.load import Plan
from bench.programs.processes import Service, StartError
from bench.programs.targets import BACKEND, PROMPT, ask_backend, start_upstream
from gemini.backend.v1 import execute_service_pb2 as pb

if TYPE_CHECKING:
    from bench.programs.build import Binaries
    from bench.programs.load import Request

TOGETHER = 100
ROUNDS = 5
LIMIT = 1.0
PACED = next(row for row in ROWS if row.key == "paced_20")
ROW = replace(PACED, plan=Plan(total=10 * TOGETHER, concurrency=TOGETHER), latency=False)


def ask_alike(address: str, model: str, events: int) -> Request:
    """Asks the same each time: nothing in it that the load client numbers."""
    own = ask_backend(address, model, events)
    body = pb.ExecuteRequest(prompt=PROMPT.replace("0000000000", "Rhine"), model=model)
    return replace(own, body=body.SerializeToString())


def main() -> int:
    """Measures, and prints both costs; returns 0, 1 when it failed or a follower costs more."""
    try:
        binaries = build()
        upstream = start_upstream(binaries.upstream)
        try:
            found = measure(upstream, binaries)
        finally:
            upstream.stop()
    except (BuildError, StartError) as error:
        sys.stderr.write(f"bench: {error}\n")
        return 1
    sys.stdout.write(comparison_table([found]) + "\n")
    return 1 if found.errors or found.ratio() > LIMIT else 0


def measure(upstream: Service, binaries: Binaries, rounds: int = ROUNDS) -> Comparison:
    """Compares a follower with a stream of its own, in turns on one server."""
    service = BACKEND.start(upstream.addresses["upstream"])
    alone, alike = Series(), Series()
    try:
        different = Bench(BACKEND, service, upstream, binaries.load)
        same = Bench(replace(BACKEND, ask=ask_alike), service, upstream, binaries.load)
        different.warm_up(ROW)
        for _ in range(rounds):
            different.measure(ROW, 1.0, alone)
            same.measure(ROW, 1.0, alike)
    finally:
        service.stop()
    pairs = zip(alike.cpu_us, alone.cpu_us, strict=True)
    # of each hundred alike one is a stream of its own
    followers = [(both * TOGETHER - own) / (TOGETHER - 1) for both, own in pairs]
    return Comparison(
        f"a follower, {TOGETHER} callers of one paced stream",
        f"a stream of its own, {TOGETHER} open at a time",
        followers,
        alone.cpu_us,
        LIMIT,
        errors=alone.errors + alike.errors,
        first_error=alone.first_error or alike.first_error,
    )


if __name__ == "__main__":
    sys.exit(main())
