"""What a session has used and cost, added up."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gemini.backend.v1.content_pb2 import Cost, ModalityTokenCount, Usage
    from gemini.backend.v1.session_service_pb2 import Session

_COUNTS = (
    "prompt_token_count",
    "cached_content_token_count",
    "candidates_token_count",
    "thoughts_token_count",
    "tool_use_prompt_token_count",
    "total_token_count",
)
_DETAILS = (
    "prompt_tokens_details",
    "cache_tokens_details",
    "candidates_tokens_details",
    "tool_use_prompt_tokens_details",
)
# What a field of a count can hold. The prompt of a long conversation is counted anew at each turn.
_MOST = 2**31 - 1


def spend(session: Session, usage: Usage, cost: Cost | None) -> None:
    """Add what one execution used, and cost where that is known.

    Counts are added, those by kind of medium too, and stand still at 2^31 - 1. The quality is the
    worst of all. Service tier and kind of traffic stand for one execution, and are left out.
    """
    sums = session.usage
    for name in _COUNTS:
        if usage.HasField(name):  # type: ignore[arg-type] # one of the names above
            setattr(sums, name, min(_MOST, getattr(sums, name) + getattr(usage, name)))
    for name in _DETAILS:
        _add_details(getattr(sums, name), getattr(usage, name))
    sums.quality = max(sums.quality, usage.quality)
    if cost is not None:
        _add_cost(session.cost, cost)


def _add_details(sums: Iterable[ModalityTokenCount], more: Iterable[ModalityTokenCount]) -> None:
    by_kind = {(one.modality, one.modality_raw): one for one in sums}
    for one in more:
        kind = (one.modality, one.modality_raw)
        if kind not in by_kind:
            by_kind[kind] = sums.add(modality=one.modality, modality_raw=one.modality_raw)  # type: ignore[attr-defined] # a repeated field
        total = by_kind[kind].token_count + one.token_count
        by_kind[kind].token_count = min(_MOST, total)


def _add_cost(sums: Cost, more: Cost) -> None:
    for field, value in more.ListFields():
        if field.name.endswith("_nano_usd"):
            setattr(sums, field.name, getattr(sums, field.name) + value)
    sums.priced_model = more.priced_model
