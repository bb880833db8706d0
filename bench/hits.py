"""`python -m bench.hits`: what an answer out of the cache costs, against a bare echo of its size.

Both servers run side by side and are asked in turns for the same messages.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

import grpc

from bench.measures.comparisons import Comparison, comparison_table
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
NAMES = {"unary": "a whole answer from the cache", "burst": "a stream from the cache"}
ROUNDS = 5
GOAL, AIM = 1.4, 1.2


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
        upstream = start_upstream(binaries.upstream)
        try:
            found = measure(upstream, binaries, options.rounds)
        finally:
            upstream.stop()
    except (BuildError, StartError) as error:
        sys.stderr.write(f"bench: {error}\n")
        return 1
    sys.stdout.write(comparison_table(found) + "\n")
    missed = any(one.errors or one.ratio() > GOAL for one in found)
    return 1 if options.check and missed else 0


def measure(upstream: Service, binaries: Binaries, rounds: int = ROUNDS) -> list[Comparison]:
    """Compares a whole answer and a stream with the same messages echoed, in turns."""
    with ExitStack() as running:
        backend = BACKEND.start(upstream.addresses["upstream"])
        running.callback(backend.stop)
        hits = Bench(replace(BACKEND, ask=ask_cached), backend, upstream, binaries.load)
        found = []
        for row in KINDS:
            hits.warm_up(row)  # and so the answer is in the cache
            messages = _messages(next(iter(backend.addresses.values())), row)
            echo = start_echo(messages)
            running.callback(echo.stop)
            target = Target("echo", "grpc.aio, echo", lambda _: echo, ask_cached)  # noqa: B023 - started
            floor = Bench(target, echo, upstream, binaries.load)
            floor.warm_up(row)
            found.append(_compare(row, hits, floor, rounds))
        return found


def start_echo(messages: list[bytes]) -> Service:
    """Starts a server that answers with these messages: the first whole, the others streamed."""
    command = [sys.executable, "-m", "bench.yardsticks.echo"]
    return processes.start("echo", [*command, *(one.hex() for one in messages)])


def _compare(row: Row, hits: Bench, floor: Bench, rounds: int) -> Comparison:
    ours, bare = Series(), Series()
    for _ in range(rounds):
        floor.measure(row, 1.0, bare)
        hits.measure(row, 1.0, ours)
    errors = ours.errors + bare.errors
    first_error = ours.first_error or bare.first_error
    costs = (ours.cpu_us, bare.cpu_us)
    base = "the same messages from a bare grpc.aio server"
    return Comparison(NAMES[row.key], base, *costs, GOAL, AIM, errors, first_error)


def _messages(address: str, row: Row) -> list[bytes]:
    """Returns what a hit sends: the whole answer, then the events of the stream."""
    asked = ask_cached(address, row.model, row.events).body
    with grpc.insecure_channel(address) as channel:
        whole: bytes = channel.unary_unary(PROCESS)(asked)
        return [whole, *channel.unary_stream(EXECUTE)(asked)]


if __name__ == "__main__":
    sys.exit(main())
