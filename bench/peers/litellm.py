"""LiteLLM's proxy, in its own environment, in front of the same upstream."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import venv
from pathlib import Path

from bench.programs import PROMPT, ROOT, Request, Target, processes

LOCK = Path(__file__).with_name("litellm.lock")
HOME = ROOT / ".cache" / "peers" / "litellm"
MODELS = ("bench-unary", "bench-burst", "bench-paced-10", "bench-paced-10x60", "bench-paced-20")
START_SECONDS = 180.0


def install() -> Path:
    """Makes the environment from the lock file, unless it stands already; returns its `bin`."""
    stamp = HOME / "installed"
    digest = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text() != digest:
        venv.create(HOME, with_pip=True, clear=True)
        pip = [str(HOME / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, "--no-deps", "--require-hashes", "-r", str(LOCK)], check=True)
        stamp.write_text(digest)
    return HOME / "bin"


def start(upstream: str) -> processes.Service:
    """Starts one worker that knows the benchmark's models as `gemini/<model>`."""
    config = HOME / "config.json"  # JSON is YAML
    config.write_text(json.dumps(_config(upstream)))
    port = _free_port()
    command = [str(HOME / "bin" / "litellm"), "--config", str(config), "--num_workers", "1"]
    extra = {
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # asks nothing of the internet
        "LITELLM_LOG": "ERROR",
        # Only loopback reaches it, and without a check of keys it is the cheaper for it.
        "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
        "PATH": f"{HOME / 'bin'}:{os.environ.get('PATH', '')}",
    }
    return processes.start_http(
        "litellm",
        [*command, "--host", "127.0.0.1", "--port", str(port)],
        extra,
        f"http://127.0.0.1:{port}/health/liveliness",
        START_SECONDS,
    )


def ask(address: str, model: str, events: int) -> Request:
    """Asks in OpenAI's REST, which is LiteLLM's own."""
    messages = [{"role": "user", "content": PROMPT}]
    body = json.dumps({"model": model, "messages": messages, "stream": events > 1}).encode()
    return Request("http", address, "/v1/chat/completions", body, min_messages=events)


def _config(upstream: str) -> dict[str, object]:
    def entry(model: str) -> dict[str, object]:
        base = f"http://{upstream}/v1beta"
        params = {"model": f"gemini/{model}", "api_base": base, "api_key": "bench"}
        return {"model_name": model, "litellm_params": params}

    return {"model_list": [entry(model) for model in MODELS]}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


LITELLM = Target(
    "litellm",
    "LiteLLM 1.106.2",
    start,
    ask,
    share=0.06,
    concurrency=4,
    rate=5.0,
    note="asked for at most 4 at a time and 5 streams per second, since it breaks at about 100 "
    "open.",
)
