"""Requests to the simulator, decoded and checked, and the tickets that they give back."""

from __future__ import annotations

from gemini_backend.upstream.simulator.requests import signatures
from gemini_backend.upstream.simulator.requests.ask import ENUM_MIME, Ask, prompt_tokens
from gemini_backend.upstream.simulator.requests.json_reader import decode
from gemini_backend.upstream.simulator.requests.long_decode import WHOLE, hop_of
from gemini_backend.upstream.simulator.requests.refusals import check_contents, validate

__all__ = [
    "ENUM_MIME",
    "WHOLE",
    "Ask",
    "check_contents",
    "decode",
    "hop_of",
    "prompt_tokens",
    "signatures",
    "validate",
]
