"""Ferro Labs' AI gateway (Go): OpenAI's API in front, Gemini's behind."""

from __future__ import annotations

import json

from bench.peers.environment import HOME, free_port, install, path_with
from bench.peers.openai_api import ask
from bench.programs import Request, Target, processes

START_SECONDS = 60.0
KEY = "bench"  # the load client sends it
# It serves only models of its catalogue; the upstream knows what each of these stands for.
NAMES = {
    "bench-unary": "gemini-2.5-flash",
    "bench-burst": "gemini-2.5-flash-lite",
    "bench-paced-10": "gemini-2.5-pro",
    "bench-paced-10x60": "gemini-2.0-flash",
    "bench-paced-20": "gemini-2.0-flash-lite",
}


def start(upstream: str) -> processes.Service:
    """Starts it with Gemini as its one target."""
    binaries = install("ferrogw")
    config = HOME / "ferrogw" / "config.json"
    config.write_text(
        json.dumps({"strategy": {"mode": "single"}, "targets": [{"virtual_key": "gemini"}]})
    )
    port = free_port()
    extra = {
        "GATEWAY_CONFIG": str(config),
        "MASTER_KEY": KEY,
        "GEMINI_API_KEY": KEY,
        "GEMINI_BASE_URL": f"http://{upstream}",
        "PORT": str(port),
        "FERRO_MODEL_CATALOG_TIMEOUT": "0",  # asks nothing of the internet
        # The default of 20 calls a second would refuse the benchmark.
        "RATE_LIMIT_RPS": "1000000",
        "RATE_LIMIT_BURST": "1000000",
        "PATH": path_with(binaries),
    }
    url = f"http://127.0.0.1:{port}/health"
    return processes.start_http(
        "ferrogw", [str(binaries / "ferrogw"), "serve"], extra, url, START_SECONDS
    )


def _ask(address: str, model: str, events: int) -> Request:
    return ask(address, "/v1/chat/completions", NAMES[model], events)


FERROGW = Target(
    "ferrogw",
    "ferrogw 1.5.10 (Go)",
    start,
    _ask,
    note="Translates between OpenAI's API and Gemini's, checks the caller's key, limits rates (far "
    "above the benchmark's), counts metrics, logs each call. Off, as by default: retries, circuit "
    "breaker, cache, plugins, stored request logs, tracing. It has no single flight, no resumption "
    "of streams and no sessions.",
)
