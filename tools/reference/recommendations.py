"""docs/recommendations.md: what RecommendModel answers for described use cases, on a fixed day."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from google.protobuf.json_format import ParseDict

from gemini.backend.v1 import model_service_pb2 as pb
from gemini_backend.api.models import ModelsServicer
from gemini_backend.clock import SystemClock
from gemini_backend.errors import UpstreamUnavailable
from gemini_backend.models.catalogue import load
from gemini_backend.models.listing import ModelListing
from gemini_backend.models.measured import NOTHING
from gemini_backend.models.registry import Registry
from gemini_backend.models.scoring import dollars
from tools.reference.use_cases import DESCRIBED

if TYPE_CHECKING:
    from gemini_backend.models.listing import UpstreamModel

DAY = datetime(2026, 11, 29, tzinfo=UTC)
_SHOWN = 3
_NANO = 1e9
_HEAD = f"""\
# Recommendations

What `ModelService.RecommendModel` answers for {len(DESCRIBED)} use cases, with the built-in
catalogue as of {DAY:%Y-%m-%d}, without an upstream's list and before anything was measured: on a
running server both count for more. How a score is made is told in
[docs/models.md](models.md#recommendmodel). The first {_SHOWN} of each ranking are shown. Numbers
before a reason are what it adds to the score.

This page is made by `make gen`.
"""


def render(catalogue_file: str = "") -> str:
    """Return the page, for the built-in catalogue, or one with an own file beside it."""
    return asyncio.run(_render(catalogue_file))


async def _render(catalogue_file: str) -> str:
    listing = ModelListing(_nobody, SystemClock(), 1.0)
    registry = Registry(load(catalogue_file), listing, lambda: DAY)
    servicer = ModelsServicer(registry, listing, lambda _: NOTHING, DAY.timestamp)
    parts = [_HEAD]
    for title, description, asked in DESCRIBED:
        request = ParseDict(asked, pb.RecommendModelRequest())
        answer = await servicer.RecommendModel(request, None)
        shown = json.dumps(asked, indent=2)
        parts.append(
            f"\n## {title}\n\n{description}\n\n```json\n{shown}\n```\n\n{_ranking(answer)}"
        )
    return "".join(parts)


async def _nobody() -> list[UpstreamModel]:
    msg = "there is no upstream here"
    raise UpstreamUnavailable(msg)


def _ranking(answer: pb.RecommendModelResponse) -> str:
    rows = [_row(one) for one in answer.recommendations[:_SHOWN]]
    head = "| | model | score | a request | a whole answer | because |\n|---|---|---|---|---|---|\n"
    return (head + "".join(rows) if rows else "Nothing is recommended.\n") + _left_out(answer)


def _row(one: pb.ModelRecommendation) -> str:
    known = one.HasField("estimated_cost_nano_usd")
    cost = dollars(one.estimated_cost_nano_usd) if known else "-"
    latency = one.estimated_latency
    seconds = latency.seconds + latency.nanos / _NANO
    time = f"{seconds:.3g} s" if one.HasField("estimated_latency") else "-"
    because = "<br>".join(f"{reason.contribution:+.2f} {reason.message}" for reason in one.reasons)
    name = one.model.name.removeprefix("models/")
    return f"| {one.rank} | {name} | {one.score:.2f} | {cost} | {time} | {because} |\n"


def _left_out(answer: pb.RecommendModelResponse) -> str:
    """Tell of those that miss a requirement of this use case, not of those that are gone."""
    told: dict[str, list[str]] = {}
    for one in answer.excluded:
        if one.criterion in _TOLD:
            told.setdefault(one.message, []).append(one.model.removeprefix("models/"))
    lines = [f"- {', '.join(names)}: {message}\n" for message, names in told.items()]
    return f"\nLeft out:\n\n{''.join(lines)}" if lines else ""


_TOLD: set[Any] = {
    pb.MODEL_CRITERION_COST,
    pb.MODEL_CRITERION_LATENCY,
    pb.MODEL_CRITERION_CONTEXT_SIZE,
}
