"""What is measured: how each server is started, and how it is asked."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.programs import processes
from bench.programs.build import ROOT
from bench.programs.load import Request
from gemini.backend.v1 import execute_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# The load client numbers the requests, so that identical ones are not answered as one.
PROMPT = "Write a few sentences about river 0000000000."
EXECUTE = "/gemini.backend.v1.ExecuteService/Execute"
PROCESS = "/gemini.backend.v1.ExecuteService/Process"
DELTA = pb.ExecuteResponse.DESCRIPTOR.fields_by_name["delta"].number
COMMAND = ROOT / ".venv" / "bin" / "gemini-backend"


@dataclass(frozen=True)
class Target:
    """A server of the benchmark.

    Attributes:
        key: short name, also that of its log files.
        title: what the table calls it.
        start: starts it in front of the upstream at HOST:PORT.
        ask: makes the request for an address, a model, and the events that the upstream will send;
            one event is asked for as a whole answer, more as a stream.
        share: how many exchanges it is given of a row's number, for servers that are slow.
        concurrency: at most so many exchanges at a time; 0 = as the row says.
        rate: at most so many starts a second; 0 = as the row says.
        note: what it does and does not do for its figures, in sentences.
        full: whether memory, open streams and start are measured too.
    """

    key: str
    title: str
    start: Callable[[str], processes.Service]
    ask: Callable[[str, str, int], Request]
    share: float = 1.0
    concurrency: int = 0
    rate: float = 0.0
    note: str = ""
    full: bool = False


def ask_gemini(address: str, model: str, events: int) -> Request:
    """Asks in Gemini's own REST."""
    method = "streamGenerateContent?alt=sse" if events > 1 else "generateContent"
    body = {"contents": [{"role": "user", "parts": [{"text": PROMPT}]}]}
    return Request(
        protocol="http",
        address=address,
        path=f"/v1beta/models/{model}:{method}",
        body=json.dumps(body).encode(),
        min_messages=events,
    )


def ask_backend(address: str, model: str, events: int) -> Request:
    """Asks by gRPC; the first message that counts is the first with a delta.

    Events that arrive together may leave as one message, so there is no least number of them.
    """
    if events > 1:
        body = pb.ExecuteRequest(prompt=PROMPT, model=model).SerializeToString()
        return Request("grpc", address, EXECUTE, body, first_field=DELTA)
    body = pb.ProcessRequest(prompt=PROMPT, model=model).SerializeToString()
    return Request("grpc", address, PROCESS, body)


def start_upstream(binary: Path) -> processes.Service:
    """Starts the fake Gemini on a free port; its address is called `upstream`."""
    return processes.start("upstream", [str(binary)])


def start_backend(upstream: str, wrapper: tuple[str, ...] = ()) -> processes.Service:
    """Starts the server as it is installed, on its default chain, with free ports."""
    extra = backend_settings(upstream)
    return processes.start("gemini-backend", [*wrapper, str(COMMAND), "serve"], extra)


def backend_settings(upstream: str) -> dict[str, str]:
    """Returns the environment of a server on free ports in front of the upstream."""
    return {
        # no part of a model's name, which would be masked wherever it appears
        "GEMINI_API_KEY": "a-key-for-measuring",
        "GEMINI_BACKEND_UPSTREAM__GEMINI__BASE_URL": f"http://{upstream}",
        "GEMINI_BACKEND_SERVER__LISTEN": "127.0.0.1:0",
        "GEMINI_BACKEND_WEB__LISTEN": "127.0.0.1:0",
    }


def start_script(name: str, upstream: str) -> processes.Service:
    """Starts one of this folder's own small servers."""
    return processes.start(name, [sys.executable, "-m", f"bench.yardsticks.{name}", upstream])


BACKEND = Target(
    "backend",
    "Gemini Backend",
    start_backend,
    ask_backend,
    note="Translates between its gRPC contract and Gemini's API, on its default settings: "
    "validation, single flight, resumption of streams, retries, circuit breakers, admission and "
    "quotas, prices, cache lookups, metrics, and a log line per call. Texts that come in one read "
    "leave as one message.",
    full=True,
)
PASSTHROUGH = Target(
    "passthrough",
    "aiohttp + uvloop, bytes only",
    lambda upstream: start_script("passthrough", upstream),
    ask_gemini,
    note="Passes bytes on, and reads none of them.",
    full=True,
)
BARE = Target(
    "bare",
    "grpc.aio, bare",
    lambda upstream: start_script("bare", upstream),
    ask_backend,
    note="The same two RPCs, with nothing but the texts taken out of Gemini's answers.",
)
