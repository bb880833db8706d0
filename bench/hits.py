"""`python -m bench.hits`: what an answer out of the cache costs, against a bare echo of its size.

Both servers run side by side and are asked in turns for the same messages.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING

import grpc

from bench.measures.rows import ROWS, Bench, Row, Series
from bench.programs import processes
from bench.programs.build import BuildError, build
from bench.programs.load import Plan
from bench.programs.processes import StartError
from bench.programs.targets import BACKEND, EXECUTE, PROCESS, Target, ask_backend, start_upstream
from gemini.backend.v1 import execute_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.programs.build import Binaries
    from bench.programs.load import Request
    from bench.programs.processes import Service

# The same answer each time: asked for at temperature 0, and with no number in the prompt.
BODY = pb.ExecuteRequest(prompt="Which river is the longest?")
BODY.generation_config.temperature = 0
PLANS = {"unary": Plan(total=4000), "burst": Plan(total=2000)}
KINDS = tuple(replace(row, plan=PLANS[row.key]) for row in ROWS if row.key in PLANS)
NAMES = {"unary": "whole answer", "burst": "stream"}
ROUNDS = 5
GOAL = 1.4


def ask_cached(address: str, model: str, events: int) -> Request:
    """Asks for an answer that is in the cache after the first time."""
    asked = pb.ExecuteRequest(model=model)
    asked.MergeFrom(BODY)
    return replace(ask_backend(address, model, events), body=asked.SerializeToString())


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints; returns 0, or 1 when it failed or, with --check, the goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.hits", description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit 1 when the goal is missed")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="rounds, default %(default)s")
    options = parser.parse_args(arguments)
    try:
        binaries = build()
        with ExitStack() as running:
            upstream = start_upstream(binaries.upstream)
            running.callback(upstream.stop)
            ratios = _measure(upstream, binaries, running, options.rounds)
    except (BuildError, StartError) as error:
        sys.stderr.write(f"bench: {error}\n")
        return 1
    return 1 if options.check and max(ratios) > GOAL else 0


def _measure(upstream: Service, binaries: Binaries, running: ExitStack, rounds: int) -> list[float]:
    backend = BACKEND.start(upstream.addresses["upstream"])
    running.callback(backend.stop)
    hits = Bench(replace(BACKEND, ask=ask_cached), backend, upstream, binaries.load)
    ratios = []
    for row in KINDS:
        hits.warm_up(row)  # and so the answer is in the cache
        messages = _messages(next(iter(backend.addresses.values())), row)
        echo = processes.start(
            "echo",
            [sys.executable, "-m", "bench.yardsticks.echo", *(one.hex() for one in messages)],
        )
        running.callback(echo.stop)
        target = Target("echo", "grpc.aio, echo", lambda _: echo, ask_cached)  # noqa: B023 - started
        floor = Bench(target, echo, upstream, binaries.load)
        floor.warm_up(row)
        ratios.append(_compare(row, hits, floor, rounds))
    return ratios


def _compare(row: Row, hits: Bench, floor: Bench, rounds: int) -> float:
    ours, bare = Series(), Series()
    for _ in range(rounds):
        floor.measure(row, 1.0, bare)
        hits.measure(row, 1.0, ours)
    ratio = median(one / other for one, other in zip(ours.cpu_us, bare.cpu_us, strict=True))
    sys.stdout.write(
        f"{NAMES[row.key]}: hit {ours.cost():,.0f} µs, echo {bare.cost():,.0f} µs ({ratio:.2f}x, "
        f"goal {GOAL}x), {ours.errors + bare.errors} errors, "
        f"upstream {median(ours.upstream_us):.1f} µs\n"
    )
    return ratio


def _messages(address: str, row: Row) -> list[bytes]:
    """Returns what a hit sends: the whole answer, then the events of the stream."""
    asked = ask_cached(address, row.model, row.events).body
    with grpc.insecure_channel(address) as channel:
        whole: bytes = channel.unary_unary(PROCESS)(asked)
        return [whole, *channel.unary_stream(EXECUTE)(asked)]


if __name__ == "__main__":
    sys.exit(main())
