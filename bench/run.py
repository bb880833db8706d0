"""`python -m bench.run`: measures the server beside the yardsticks, and prints the table."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from bench.beside import measure as measure_beside
from bench.measures import memory
from bench.measures.profiling import profile
from bench.measures.rows import ROWS, Bench, Series
from bench.peers import PEERS, install
from bench.programs.build import ROOT, BuildError, build
from bench.programs.processes import StartError
from bench.programs.targets import BACKEND, BARE, PASSTHROUGH, Target, ask_gemini, start_upstream
from bench.reports import documents, report
from bench.reports.figures import Figures, Seen, figures
from bench.reports.goals import goals

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.beside import Beside
    from bench.programs.build import Binaries
    from bench.programs.processes import Service

DOCUMENT = ROOT / "docs" / "performance.md"
ROUNDS, QUICK_SCALE, STARTS = 3, 0.3, 3
LATENCY_ROW = "paced_20"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark; returns 0, or 1 when it failed or, with --check, a goal is missed."""
    options = _options().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is stopped
    try:
        binaries = build()
        upstream = start_upstream(binaries.upstream)
        try:
            if options.profile:
                row = next(row for row in ROWS if row.key == options.profile)
                sys.stdout.write(profile(row, upstream, binaries) + "\n")
                return 0
            return _bench(options, upstream, binaries)
        finally:
            upstream.stop()
    except (BuildError, StartError) as error:
        sys.stderr.write(f"bench: {error}\n")
        return 1


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.run", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round, under a minute")
    parser.add_argument("--peers", action="store_true", help="add other gateways, installed for it")
    parser.add_argument("--check", action="store_true", help="exit 1 when a goal is missed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures as JSON")
    parser.add_argument("--write-docs", action="store_true", help="put the table into the docs")
    parser.add_argument(
        "--profile",
        choices=[row.key for row in ROWS],
        help="show where the server's time goes in one row, instead",
    )
    return parser


def _bench(options: argparse.Namespace, upstream: Service, binaries: Binaries) -> int:
    targets = [PASSTHROUGH, BACKEND] if options.quick else [PASSTHROUGH, BARE, BACKEND]
    if options.peers:
        for peer in PEERS:
            install(peer.key)
        targets.extend(PEERS)
    seen = {target.key: Seen(target) for target in targets}
    rounds, scale = (1, QUICK_SCALE) if options.quick else (ROUNDS, 1.0)
    direct = _cpu(seen, upstream, binaries, rounds, scale)
    _sizes(seen, upstream, binaries, quick=options.quick)
    beside = None if options.quick else measure_beside(upstream, binaries, _say)
    lines = {key: figures(one, direct) for key, one in seen.items()}
    return _publish(options, lines, seen["backend"], beside)


def _cpu(
    seen: dict[str, Seen], upstream: Service, binaries: Binaries, rounds: int, scale: float
) -> Series:
    """Measures every row on every target, round by round; returns the direct times."""
    direct = Series()
    itself = Target("direct", "the upstream itself", lambda _: upstream, ask_gemini)
    with ExitStack() as running:
        benches = []
        for key, one in seen.items():
            service = one.target.start(upstream.addresses["upstream"])
            running.callback(service.stop)
            one.ready_seconds.append(service.ready_seconds)
            benches.append((one, Bench(one.target, service, upstream, binaries.load)))
            for row in ROWS:
                benches[-1][1].warm_up(row)
            _say(f"{key} is warm")
        for number in range(rounds):
            for row in ROWS:
                if row.key == LATENCY_ROW:
                    bench = Bench(itself, upstream, upstream, binaries.load)
                    bench.measure(row, scale, direct)
                for one, bench in benches:
                    bench.measure(row, scale, one.of(row.key))
            _say(f"round {number + 1} of {rounds} is done")
    return direct


def _sizes(seen: dict[str, Seen], upstream: Service, binaries: Binaries, *, quick: bool) -> None:
    """Measures memory and start, each on processes started for it."""
    address = upstream.addresses["upstream"]
    for key, one in seen.items():
        if not one.target.full or (quick and key != BACKEND.key):
            continue
        one.memory = memory.measure(one.target, address, binaries.load)
        one.ready_seconds += one.memory.ready_seconds
        while len(one.ready_seconds) < STARTS:
            service = one.target.start(address)
            one.ready_seconds.append(service.ready_seconds)
            service.stop()
        _say(f"{key}: streams were held open")


def _publish(
    options: argparse.Namespace, lines: dict[str, Figures], ours: Seen, beside: Beside | None
) -> int:
    judged = goals(lines, beside)
    command = "make bench-peers" if options.peers else "make bench"
    blocks = (
        report.heading(command, lines),
        report.table(lines),
        report.peer_notes(lines),
        report.beside_block(beside) if beside else "",
        report.goal_table(judged),
        f"{report.remarks(lines)} {report.tools(ours.series)}",
    )
    block = "\n\n".join(filter(None, blocks))
    sys.stdout.write(block + "\n")
    for line in lines.values():
        if line.errors:
            sys.stdout.write(f"\n{line.title}: {line.errors} errors, first: {line.first_error}\n")
    for one in beside.comparisons if beside else ():
        if one.errors:
            sys.stdout.write(f"\n{one.what}: {one.errors} errors, first: {one.first_error}\n")
    if beside and beside.cancels.errors:
        sys.stdout.write(f"\n{beside.cancels.errors} cancels did not close their request\n")
    if options.json:
        figures_out = {key: asdict(line) for key, line in lines.items()}
        goals_out = [{**asdict(goal), "kept": goal.kept} for goal in judged]
        whole: dict[str, object] = {
            "machine": report.machine(),
            "figures": figures_out,
            "goals": goals_out,
        }
        whole["beside"] = asdict(beside) if beside else None
        options.json.write_text(json.dumps(whole, indent=2, ensure_ascii=False) + "\n")
    if options.write_docs:
        documents.write(DOCUMENT, block)
    missed = options.check and not all(goal.kept for goal in judged)
    return 1 if missed else 0


def _say(text: str) -> None:
    sys.stderr.write(f"bench: {text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
