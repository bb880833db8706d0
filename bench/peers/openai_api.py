"""How the peers are asked: by OpenAI's chat completions, which all of them accept."""

from __future__ import annotations

import json

from bench.programs import PROMPT, Request

# What the rows of the benchmark ask for; a peer has to be told its models beforehand.
MODELS = ("bench-unary", "bench-burst", "bench-paced-10", "bench-paced-10x60", "bench-paced-20")


def ask(address: str, path: str, model: str, events: int) -> Request:
    """Makes a request for one whole answer, or for a stream where there are more events."""
    messages = [{"role": "user", "content": PROMPT}]
    body = json.dumps({"model": model, "messages": messages, "stream": events > 1}).encode()
    return Request("http", address, path, body, min_messages=events)
