"""`python -m bench.resilience`: what becomes of executions while a fifth of all attempts fails.

The same executions are made through servers that differ in one policy. Each answer is known
beforehand, so that a wrong word, a missing one or one too many shows. Then the upstream comes and
goes, and fails altogether (`bench.judging.outages`).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from bench.judging import outages
from bench.judging.executions import as_stream, as_whole, ask_all
from bench.judging.faults import MIX, SHARE, script
from bench.judging.verdicts import WRONG, Verdict
from bench.programs.build import ROOT
from bench.programs.load import percentile
from bench.programs.processes import StartError, start
from bench.programs.targets import COMMAND, backend_settings
from bench.reports import documents, report

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.judging.executions import Ask, Seen

DOCUMENT = ROOT / "docs" / "resilience.md"
EXECUTIONS, CONCURRENCY = 10_000, 40
WHOLE = "whole answers"  # by Process in place of Execute
VARIANTS: dict[str, dict[str, str]] = {
    "as it is": {},
    "retries off": {"RETRY__ENABLED": "false"},
    "hedging on": {"HEDGE__ENABLED": "true", "HEDGE__DELAY_MS": "500"},
    WHOLE: {},
}
# A stall would otherwise be borne for a minute: no other setting differs from the defaults.
ALWAYS = {"EXECUTION__IDLE_TIMEOUT_SECONDS": "2"}
FIRST_BYTE_SECONDS, CHUNK_SECONDS = 0.05, 0.01


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints; returns 0, or 1 when it failed or an answer was wrong."""
    parser = argparse.ArgumentParser(prog="python -m bench.resilience", description=__doc__)
    parser.add_argument("--executions", type=int, default=EXECUTIONS, help="default %(default)s")
    parser.add_argument("--concurrency", type=int, default=CONCURRENCY, help="default %(default)s")
    parser.add_argument("--seed", type=int, default=1, help="of the faults, default %(default)s")
    parser.add_argument("--share", type=float, default=SHARE, help="per cent of attempts struck")
    every = [*VARIANTS, *outages.NAMES]
    parser.add_argument("--only", choices=every, nargs="+", default=every)
    parser.add_argument("--set", action="append", default=[], metavar="SECTION__FIELD=VALUE")
    parser.add_argument("--write-docs", action="store_true", help="put the table into the docs")
    options = parser.parse_args(arguments)
    more = dict(pair.split("=", 1) for pair in options.set)
    seen, down = {}, {}
    try:
        for name in options.only:
            if name in outages.NAMES:
                down[name] = outages.measure(name, uvloop.run, more)
                _say(f"{name}: {down[name].seconds:.0f} s")
                continue
            settings = {**ALWAYS, **VARIANTS[name], **more}
            seen[name] = _measure(settings, options, as_whole if name == WHOLE else as_stream)
            _say(f"{name}: {seen[name].seconds:.0f} s")
    except StartError as error:
        _say(str(error))
        return 1
    parts = [_heading(options), _table(seen), _reasons(seen)] if seen else []
    block = "\n\n".join([*parts, *([outages.block(down)] if down else [])])
    sys.stdout.write(block + "\n")
    every = (*seen.values(), *down.values())
    wrong = [one for each in every for one in each.judgements if one.wrong]
    for one in wrong[:10]:
        _say(f"{one.verdict.name}: {one.why}")
    if options.write_docs:
        documents.write(DOCUMENT, block)
    return 1 if wrong else 0


def _measure(settings: dict[str, str], options: argparse.Namespace, ask: Ask) -> Seen:
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
            addresses = (server.addresses["grpc"], simulator.addresses["http"])
            return uvloop.run(ask_all(*addresses, ask, options.executions, options.concurrency))
        finally:
            server.stop()
    finally:
        simulator.stop()


def _heading(options: argparse.Namespace) -> str:
    scale = options.share / SHARE
    mix = ", ".join(f"{part * scale:g} % {words}" for words, part, _ in MIX)
    return (
        f"Made by `make resilience` on {report.machine()}: {options.executions:,} executions "
        f"each, {options.concurrency} at a time, all different, seed {options.seed}. The "
        f"simulator takes {FIRST_BYTE_SECONDS * 1000:g} ms to the first piece and strikes "
        f"{options.share:g} % of all attempts: {mix}. Times are of those that succeeded."
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
            ms = [f"{percentile(values, p) * 1000:,.0f}" for p in (50, 90, 99)]
            cells.append(" / ".join(ms) if values else "-")
        return row(name, *cells)

    spent = (f"{sum(one.out_of_budget for one in each.judgements):,}" for each in seen.values())
    ratios = (f"{each.upstream_calls / len(each.judgements):.3f}" for each in seen.values())
    return "\n".join(
        (
            row("", *seen),
            row(*["---"] * (len(seen) + 1)),
            counts("succeeded", Verdict.RIGHT),
            counts("failed before the first piece", Verdict.REFUSED),
            row("of these without retry budget left", *spent),
            counts("interrupted after it", Verdict.BROKEN_OFF),
            counts("out of the caller's time", Verdict.OUT_OF_TIME),
            counts("wrong answers, missing or doubled text, untyped", *WRONG),
            times("first piece p50 / p90 / p99, ms", "first"),
            times("whole answer p50 / p90 / p99, ms", "whole"),
            row("upstream calls per execution", *ratios),
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
