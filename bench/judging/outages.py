"""What becomes of executions while the upstream comes and goes, and while everything fails."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.judging.executions import as_whole, ask_all, ask_at_rate
from bench.judging.flapping import flapping
from bench.judging.verdicts import Verdict
from bench.programs import COMMAND, backend_settings, percentile, processes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bench.judging.executions import Seen
    from bench.programs import Service

UP_SECONDS = DOWN_SECONDS = 2.0
PER_SECOND, SECONDS = 50.0, 60.0
EXECUTIONS, CONCURRENCY = 1_000, 200
NO_BREAKER = {"BREAKER__ENABLED": "false"}
FLAPPING: dict[str, dict[str, str]] = {
    "flapping": {},
    "flapping, breaker off": NO_BREAKER,
}
RETRYING = "all fail, clients retry"  # by gRPC's own policy
FAILING: dict[str, dict[str, str]] = {
    "all fail": {},
    "all fail, breaker off": NO_BREAKER,
    RETRYING: {},
    "all fail, hedging on": {"HEDGE__ENABLED": "true", "HEDGE__DELAY_MS": "100", **NO_BREAKER},
}
NAMES = (*FLAPPING, *FAILING)
_EVERYTHING_FAILS = {"rules": [{"fault": {"fault": "overloaded"}}]}
_RETRY_POLICY = {
    "maxAttempts": 4,
    "initialBackoff": "0.05s",
    "maxBackoff": "0.2s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "INTERNAL"],
}
_RETRIES = json.dumps({"methodConfig": [{"name": [{}], "retryPolicy": _RETRY_POLICY}]})


def measure(name: str, run: Callable[[Any], Seen], more: Mapping[str, str]) -> Seen:
    """Runs one of `NAMES` and returns what was seen.

    Args:
        name: which.
        run: runs a coroutine to its end.
        more: settings of the server, beside those of the variant.
    """
    if name in FLAPPING:
        return run(_flapping({**FLAPPING[name], **more}))
    return run(_failing({**FAILING[name], **more}, retrying=name == RETRYING))


async def _flapping(settings: Mapping[str, str]) -> Seen:
    simulator = await asyncio.to_thread(_simulator, {})
    try:
        target = simulator.addresses["http"]
        async with flapping(target, UP_SECONDS, DOWN_SECONDS) as upstream:
            server = await asyncio.to_thread(_server, upstream, settings)
            try:
                return await ask_at_rate(server.addresses["grpc"], PER_SECOND, SECONDS)
            finally:
                await asyncio.to_thread(server.stop)
    finally:
        await asyncio.to_thread(simulator.stop)


async def _failing(settings: Mapping[str, str], *, retrying: bool) -> Seen:
    simulator = await asyncio.to_thread(_simulator, _EVERYTHING_FAILS)
    try:
        upstream = simulator.addresses["http"]
        server = await asyncio.to_thread(_server, upstream, settings)
        try:
            options = [("grpc.service_config", _RETRIES)] if retrying else []
            return await ask_all(
                server.addresses["grpc"],
                upstream,
                as_whole,
                EXECUTIONS,
                CONCURRENCY,
                channel_options=options,
            )
        finally:
            await asyncio.to_thread(server.stop)
    finally:
        await asyncio.to_thread(simulator.stop)


def _simulator(script: Mapping[str, Any]) -> Service:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "faults.json"
        file.write_text(json.dumps(script))
        delays = ["--first-byte-delay", "0.05", "--chunk-delay", "0.01"]
        words = ["simulate", "--listen", "127.0.0.1:0", "--script", str(file), *delays]
        return processes.start("simulator", [str(COMMAND), *words])


def _server(upstream: str, settings: Mapping[str, str]) -> Service:
    extra = {f"GEMINI_BACKEND_{name}": value for name, value in settings.items()}
    return processes.start(
        "gemini-backend", [str(COMMAND), "serve"], {**backend_settings(upstream), **extra}
    )


def block(seen: Mapping[str, Seen]) -> str:
    """Returns what was measured, and the table, as Markdown."""
    lines = [
        (
            f"*Outages.* Flapping: an upstream that is up for {UP_SECONDS:g} s and down for "
            f"{DOWN_SECONDS:g} s by turns (connections refused, open ones reset), {PER_SECOND:g} "
            f"executions per second for {SECONDS:g} s. All fail: every attempt gets a 503; "
            f"{EXECUTIONS:,} executions, {CONCURRENCY} at a time; an execution is one call of the "
            "application, also where gRPC's own retry policy (4 attempts) repeats it."
        ),
        "",
        (
            "| | executions | succeeded | answer p50 / p99, ms | upstream calls per execution "
            "| failures |"
        ),
        "| --- | --- | --- | --- | --- | --- |",
    ]
    lines += [_row(name, each) for name, each in seen.items()]
    return "\n".join(lines)


def _row(name: str, seen: Seen) -> str:
    count, right = len(seen.judgements), seen.count(Verdict.RIGHT)
    times = [f"{percentile(seen.whole, p) * 1000:,.0f}" for p in (50, 99)] if seen.whole else []
    calls = "-" if name in FLAPPING else f"{seen.upstream_calls / count:.3f}"
    reasons = Counter(one.reason for one in seen.judgements if one.reason)
    failures = ", ".join(f"{reason} {number:,}" for reason, number in reasons.most_common())
    cells = (name, f"{count:,}", f"{right:,} ({right / count:.1%})", " / ".join(times) or "-")
    return f"| {' | '.join((*cells, calls, failures or 'none'))} |"
