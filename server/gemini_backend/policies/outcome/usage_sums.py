"""Usage of several requests, added up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini.backend.v1.content_pb2 import Usage

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gemini.backend.v1.content_pb2 import Cost, ModalityTokenCount
    from gemini_backend.call import AttemptRecord, Outcome

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
# What a field of a count can hold. The prompt of a long conversation is counted anew each time.
_MOST = 2**31 - 1


def add_counts(sums: Usage, more: Usage) -> None:
    """Add the counts of one usage to another's, those by kind of medium too.

    They stand still at 2^31 - 1. All that is no count stays as it is in `sums`.
    """
    for name in _COUNTS:
        if more.HasField(name):  # type: ignore[arg-type] # one of the names above
            setattr(sums, name, min(_MOST, getattr(sums, name) + getattr(more, name)))
    for name in _DETAILS:
        _add_details(getattr(sums, name), getattr(more, name))


def sum_of(before: Usage | None, latest: Usage | None) -> Usage | None:
    """Return the usage of two requests together; None where none is known.

    Tier and kind of traffic are those of the later one, the quality is the worse of the two.
    """
    known = before if latest is None else latest
    if known is None:
        return None
    total = Usage()
    total.CopyFrom(known)
    if before is not None and latest is not None:
        add_counts(total, before)
        total.quality = max(latest.quality, before.quality)
    return total


def known_of(attempts: Sequence[AttemptRecord]) -> Usage | None:
    """Return what the latest attempt that knows has used so far; None where none knows."""
    known = (attempt.used() for attempt in reversed(attempts) if attempt.used is not None)
    return next((usage for usage in known if usage is not None), None)


def used_so_far(outcome: Outcome) -> Usage | None:
    """Return what an execution has used that is not at its end; None where it is not known.

    It is what its latest attempt knows, with the hops before it.
    """
    used = known_of(outcome.attempts)
    if used is not None:
        for hop in outcome.hops:
            used = sum_of(hop.usage, used)
    return used


def add_cost(sums: Cost, more: Cost) -> None:
    """Add a cost, part by part; the priced model is that of the later one."""
    for field, value in more.ListFields():
        if field.name.endswith("_nano_usd"):
            setattr(sums, field.name, getattr(sums, field.name) + value)
    sums.priced_model = more.priced_model


def _add_details(sums: Iterable[ModalityTokenCount], more: Iterable[ModalityTokenCount]) -> None:
    by_kind = {(one.modality, one.modality_raw): one for one in sums}
    for one in more:
        kind = (one.modality, one.modality_raw)
        if kind not in by_kind:
            by_kind[kind] = sums.add(modality=one.modality, modality_raw=one.modality_raw)  # type: ignore[attr-defined] # a repeated field
        total = by_kind[kind].token_count + one.token_count
        by_kind[kind].token_count = min(_MOST, total)
