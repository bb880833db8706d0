"""LiteLLM's proxy (Python): OpenAI's API in front, Gemini's behind."""

from __future__ import annotations

import json

from bench.peers.environment import HOME, free_port, install, path_with
from bench.peers.openai_api import MODELS, ask
from bench.programs import Request, Target, processes

START_SECONDS = 180.0


def start(upstream: str) -> processes.Service:
    """Starts one worker that knows the benchmark's models as `gemini/<model>`."""
    binaries = install("litellm")
    config = HOME / "litellm" / "config.json"  # JSON is YAML
    config.write_text(json.dumps(_config(upstream)))
    port = free_port()
    command = [str(binaries / "litellm"), "--config", str(config), "--num_workers", "1"]
    extra = {
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # asks nothing of the internet
        "LITELLM_LOG": "ERROR",
        # Only loopback reaches it, and without a check of keys it is the cheaper for it.
        "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
        "PATH": path_with(binaries),
    }
    return processes.start_http(
        "litellm",
        [*command, "--host", "127.0.0.1", "--port", str(port)],
        extra,
        f"http://127.0.0.1:{port}/health/liveliness",
        START_SECONDS,
    )


def _ask(address: str, model: str, events: int) -> Request:
    return ask(address, "/v1/chat/completions", model, events)


def _config(upstream: str) -> dict[str, object]:
    def entry(model: str) -> dict[str, object]:
        base = f"http://{upstream}/v1beta"
        params = {"model": f"gemini/{model}", "api_base": base, "api_key": "bench"}
        return {"model_name": model, "litellm_params": params}

    return {
        "model_list": [entry(model) for model in MODELS],
        "litellm_settings": {"telemetry": False},
    }


LITELLM = Target(
    "litellm",
    "LiteLLM 1.106.2 (Python)",
    start,
    _ask,
    share=0.06,
    concurrency=4,
    rate=5.0,
    note="Translates between OpenAI's API and Gemini's, and computes costs. Off: keys of callers, "
    "database, cache, log lines of successful calls, telemetry. It gets at most 4 calls at a time "
    "and 5 streams per second, since it breaks at about 100 open.",
)
