"""Tokens by kind, packed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini.backend.v1 import metrics_service_pb2 as pb

if TYPE_CHECKING:
    from gemini_backend.telemetry.metrics.listeners.cache_counts import SavedTokens
    from gemini_backend.telemetry.metrics.snapshots import Tokens


def token_totals(tokens: Tokens | SavedTokens) -> pb.TokenTotals:
    """Return tokens that were used, or saved, as the contract has them."""
    return pb.TokenTotals(
        prompt=tokens.prompt,
        cached=tokens.cached,
        candidates=tokens.candidates,
        thoughts=tokens.thoughts,
        tool_use=tokens.tool_use,
        total=tokens.total,
    )
