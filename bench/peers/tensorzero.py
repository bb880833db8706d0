"""TensorZero's gateway (Rust): OpenAI's API in front, and behind, since Gemini's URL is fixed."""

from __future__ import annotations

from pathlib import Path

from bench.peers.environment import HOME, install
from bench.peers.openai_api import MODELS, ask
from bench.programs import Request, Target, processes

START_SECONDS = 60.0
SERVER = Path(__file__).with_name("tensorzero_server.py")
HEAD = """[gateway]
observability.enabled = false
disable_pseudonymous_usage_analytics = true
"""
MODEL = """
[models."{model}"]
routing = ["up"]

[models."{model}".providers.up]
type = "openai"
model_name = "{model}"
api_base = "http://{upstream}/v1/"
api_key_location = "none"
"""


def start(upstream: str) -> processes.Service:
    """Starts the gateway that its Python package holds."""
    binaries = install("tensorzero")
    config = HOME / "tensorzero" / "tensorzero.toml"
    models = (MODEL.format(model=model, upstream=upstream) for model in MODELS)
    config.write_text(HEAD + "".join(models))
    # isolated, or it would find this module under the package's name
    command = [str(binaries / "python"), "-I", str(SERVER), str(config)]
    return processes.start("tensorzero", command, {}, START_SECONDS)


def _ask(address: str, model: str, events: int) -> Request:
    return ask(address, "/openai/v1/chat/completions", f"tensorzero::model_name::{model}", events)


TENSORZERO = Target(
    "tensorzero",
    "TensorZero 2026.6.0 (Rust)",
    start,
    _ask,
    note="Reads OpenAI's API and asks an OpenAI upstream, so that nothing is translated to or from "
    "Gemini: its address of Gemini cannot be configured, and the fake upstream answers it in "
    "OpenAI's form. Each answer and event is parsed and serialized again, with new ids. Off: "
    "observability (its database of calls), keys of callers, retries, cache, rate limits, log "
    "lines of successful calls, usage analytics. It has no single flight, no resumption of streams "
    "and no sessions.",
)
