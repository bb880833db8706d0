"""`python -m bench.resilience`: what becomes of executions while a fifth of all attempts fails.

The same executions are made through servers that differ in one policy. Each answer is known
beforehand, so that a wrong word, a missing one or one too many shows.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import grpc
import uvloop

from bench import report
from bench.build import ROOT
from bench.faults import MIX, SHARE, script
from bench.load import percentile
from bench.processes import StartError, start
from bench.targets import COMMAND, backend_settings
from bench.verdicts import WRONG, Verdict, judge
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import execute_service_pb2_grpc as rpc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.verdicts import Judgement

DOCUMENT = ROOT / "docs" / "resilience.md"
EXECUTIONS, CONCURRENCY, CHANNELS = 10_000, 40, 4
PATIENCE = 120.0
VARIANTS: dict[str, dict[str, str]] = {
    "as it is": {},
    "retries off": {"RETRY__ENABLED": "false"},
    "hedging on": {"HEDGE__ENABLED": "true", "HEDGE__DELAY_MS": "500"},
}
# A stall would otherwise be borne for a minute: no other setting differs from the defaults.
ALWAYS = {"EXECUTION__IDLE_TIMEOUT_SECONDS": "2"}
FIRST_BYTE_SECONDS, CHUNK_SECONDS = 0.05, 0.01


@dataclass
class Seen:
    """What became of the executions through one server; times are seconds."""

    judgements: list[Judgement] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    upstream_calls: int = 0
    seconds: float = 0.0

    def count(self, *verdicts: Verdict) -> int:
        """Returns how many executions had one of these verdicts."""
        return sum(one.verdict in verdicts for one in self.judgements)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints; returns 0, or 1 when it failed or an answer was wrong."""
    parser = argparse.ArgumentParser(prog="python -m bench.resilience", description=__doc__)
    parser.add_argument("--executions", type=int, default=EXECUTIONS, help="default %(default)s")
    parser.add_argument("--concurrency", type=int, default=CONCURRENCY, help="default %(default)s")
    parser.add_argument("--seed", type=int, default=1, help="of the faults, default %(default)s")
    parser.add_argument("--share", type=float, default=SHARE, help="per cent of attempts struck")
    parser.add_argument("--only", choices=VARIANTS, nargs="+", default=list(VARIANTS))
    parser.add_argument("--set", action="append", default=[], metavar="SECTION__FIELD=VALUE")
    parser.add_argument("--write-docs", action="store_true", help="put the table into the docs")
    options = parser.parse_args(arguments)
    more = dict(pair.split("=", 1) for pair in options.set)
    seen = {}
    try:
        for name in options.only:
            seen[name] = _measure({**ALWAYS, **VARIANTS[name], **more}, options)
            _say(f"{name}: {seen[name].seconds:.0f} s")
    except StartError as error:
        _say(str(error))
        return 1
    block = f"{_heading(options)}\n\n{_table(seen)}\n\n{_reasons(seen)}"
    sys.stdout.write(block + "\n")
    wrong = [one for each in seen.values() for one in each.judgements if one.wrong]
    for one in wrong[:10]:
        _say(f"{one.verdict.name}: {one.why}")
    if options.write_docs:
        report.write(DOCUMENT, block)
    return 1 if wrong else 0


def _measure(settings: dict[str, str], options: argparse.Namespace) -> Seen:
    """Runs a simulator and a server for one variant."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "faults.json"
        file.write_bytes(script(options.seed, options.share))
        delays = ["--first-byte-delay", FIRST_BYTE_SECONDS, "--chunk-delay", CHUNK_SECONDS]
        words = ["simulate", "--listen", "127.0.0.1:0", "--script", file, *delays]
        simulator = start("simulator", [str(COMMAND), *map(str, words)])
    try:
        extra = {f"GEMINI_BACKEND_{name}": value for name, value in settings.items()}
        environment = {**backend_settings(simulator.addresses["http"]), **extra}
        server = start("gemini-backend", [str(COMMAND), "serve"], environment)
        try:
            return uvloop.run(
                _ask_all(server.addresses["grpc"], simulator.addresses["http"], options)
            )
        finally:
            server.stop()
    finally:
        simulator.stop()


async def _ask_all(server: str, simulator: str, options: argparse.Namespace) -> Seen:
    numbers = iter(range(options.executions))
    seen = Seen()
    pools = [("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.aio.insecure_channel(server, pools) for _ in range(CHANNELS)]
    stubs = [rpc.ExecuteServiceStub(channel) for channel in channels]

    async def work(worker: int) -> None:
        for number in numbers:
            await _ask(stubs[worker % CHANNELS], number, seen)

    began = time.perf_counter()
    await asyncio.gather(*(work(worker) for worker in range(options.concurrency)))
    seen.seconds = time.perf_counter() - began
    await asyncio.gather(*(channel.close() for channel in channels))
    url = f"http://{simulator}/_simulator/stats"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        seen.upstream_calls = (await answer.json())["by_method"]["streamGenerateContent"]
    return seen


async def _ask(stub: Any, number: int, seen: Seen) -> None:
    """Makes one execution and judges it."""
    expected = f"Answer {number}: " + " ".join(f"{word}-{number}" for word in range(20))
    events: list[Any] = []
    failed, first = None, None
    began = time.perf_counter()
    stream = stub.Execute(pb.ExecuteRequest(prompt=f"[[say: {expected}]]"), timeout=PATIENCE)
    try:
        async for event in stream:
            events.append(event)
            if first is None and event.HasField("delta"):
                first = time.perf_counter() - began
    except grpc.aio.AioRpcError as error:
        failed = error
    judged = judge(events, failed, expected)
    seen.judgements.append(judged)
    if judged.verdict is Verdict.RIGHT:
        seen.first.append(first or 0.0)
        seen.whole.append(time.perf_counter() - began)


def _heading(options: argparse.Namespace) -> str:
    scale = options.share / SHARE
    mix = ", ".join(f"{part * scale:g} % {words}" for words, part, _ in MIX)
    return (
        f"Made by `make resilience` on {report.machine()}: {options.executions:,} executions "
        f"each, {options.concurrency} at a time, all different, seed {options.seed}. The simulator "
        f"takes {FIRST_BYTE_SECONDS * 1000:g} ms to the first piece and strikes {options.share:g} % "
        f"of all attempts: {mix}."
    )


def _table(seen: dict[str, Seen]) -> str:
    def row(name: str, *cells: str) -> str:
        return f"| {' | '.join((name, *cells))} |"

    def counts(name: str, *verdicts: Verdict) -> str:
        cells = []
        for each in seen.values():
            number = each.count(*verdicts)
            cells.append(f"{number:,} ({number / len(each.judgements):.2%})")
        return row(name, *cells)

    def times(name: str, which: str) -> str:
        cells = []
        for each in seen.values():
            values = getattr(each, which)
            cells.append(" / ".join(f"{percentile(values, p) * 1000:,.0f}" for p in (50, 90, 99)))
        return row(name, *cells)

    spent = (f"{sum(one.out_of_budget for one in each.judgements):,}" for each in seen.values())
    ratios = (f"{each.upstream_calls / len(each.judgements):.3f}" for each in seen.values())
    return "\n".join(
        (
            row("", *seen),
            row(*["---"] * (len(seen) + 1)),
            counts("succeeded", Verdict.RIGHT),
            counts("failed before the first piece", Verdict.REFUSED),
            row("of these for want of retry budget", *spent),
            counts("broken off after it", Verdict.BROKEN_OFF),
            counts("wrong answers, missing or doubled text, untyped", *WRONG),
            times("first piece p50 / p90 / p99, ms", "first"),
            times("whole answer p50 / p90 / p99, ms", "whole"),
            row("upstream calls an execution", *ratios),
        )
    )


def _reasons(seen: dict[str, Seen]) -> str:
    lines = []
    for name, each in seen.items():
        counted = Counter(one.reason for one in each.judgements if one.reason)
        said = ", ".join(f"{reason} {number:,}" for reason, number in counted.most_common())
        lines.append(f"Failures, {name}: {said or 'none'}.")
    return "\n\n".join(lines)


def _say(text: str) -> None:
    sys.stderr.write(f"resilience: {text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
