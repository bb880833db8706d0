"""What the model API says of a model's life is believed: it knows better than a file.

Covers: models/registry.py
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.config.sections.models import ModelsOptions
from gemini_backend.models.catalogue import load
from gemini_backend.models.catalogue_schema import ModelLifecycle
from gemini_backend.models.listing import ModelListing
from gemini_backend.models.registry import Registry
from gemini_backend.policies.checks.model_check import ModelCheck
from gemini_backend.policies.outcome.pricing import Pricing
from tests.support.layers.alone import Alone
from tests.support.layers.inproc import collect
from tests.support.messages.calls import make_call

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.clock import FakeClock

NOW = datetime(2026, 11, 29, tzinfo=UTC)
FLASH = "gemini-3.8-flash"


async def nobody() -> list[Any]:
    return []


@pytest.fixture
def registry(clock: FakeClock) -> Registry:
    """The built-in catalogue, on a fixed day."""
    return Registry(load(), ModelListing(nobody, clock, 100), NOW.timestamp)


def status(stage: str, end: date | None = None) -> content.ModelStatus:
    found = content.ModelStatus(model_stage=content.ModelStage.Value(f"MODEL_STAGE_{stage}"))
    if end is not None:
        moment = datetime(end.year, end.month, end.day, 12, tzinfo=UTC)
        found.retirement_time.CopyFrom(Timestamp(seconds=int(moment.timestamp())))
    return found


def life(registry: Registry, name: str) -> tuple[ModelLifecycle, date | None]:
    entry = registry.catalogue.find(name)
    assert entry is not None
    return registry.lifecycle(entry), entry.shutdown


LATER, BEFORE = date(2027, 6, 1), date(2026, 6, 1)


@pytest.mark.parametrize(
    ("name", "told", "lifecycle", "end"),
    [
        (FLASH, status("STABLE"), ModelLifecycle.STABLE, None),
        (FLASH, status("LEGACY"), ModelLifecycle.DEPRECATED, None),
        (FLASH, status("DEPRECATED", LATER), ModelLifecycle.DEPRECATED, LATER),
        (FLASH, status("STABLE", LATER), ModelLifecycle.DEPRECATED, LATER),
        (FLASH, status("RETIRED", BEFORE), ModelLifecycle.DEPRECATED, None),
        (FLASH, status("PREVIEW"), ModelLifecycle.PREVIEW, None),
        (FLASH, status("UNSPECIFIED"), ModelLifecycle.STABLE, None),
        ("gemini-3-flash-preview", status("STABLE"), ModelLifecycle.STABLE, None),
        ("gemini-2.5-pro", status("STABLE", LATER), ModelLifecycle.DEPRECATED, LATER),
    ],
)
def test_the_model_api_is_believed(
    registry: Registry,
    name: str,
    told: content.ModelStatus,
    lifecycle: ModelLifecycle,
    end: date | None,
) -> None:
    """Of its stage and its end; a model that answers is never gone by that."""
    registry.learn(f"{name}-001", told)
    assert (lifecycle, end) == life(registry, name)


def test_of_models_that_nobody_knows_nothing_is_learnt(registry: Registry) -> None:
    """What the catalogue does not have stays unknown."""
    registry.learn("tomorrow", status("DEPRECATED"))
    assert registry.catalogue.find("tomorrow") is None


@pytest.mark.parametrize("whole", [False, True])
async def test_an_answer_teaches_what_the_next_request_is_warned_of(
    registry: Registry, clock: FakeClock, whole: bool
) -> None:
    """Of the model that served, not of the one that was asked; only where it was paid for."""
    pricing, capability = Pricing(registry), ModelCheck(ModelsOptions, registry)
    told = status("DEPRECATED", LATER)
    request = pb.ExecuteRequest(model="models/gemini-3.5-flash")

    async def stream(_call: Any, _request: Any) -> AsyncIterator[Any]:
        yield pb.ExecuteResponse(started=pb.Started(model_version=FLASH))
        yield pb.ExecuteResponse(completed=pb.Completed(model_version=FLASH, model_status=told))

    async def unary(_call: Any, _request: Any) -> Any:
        return pb.ProcessResponse(started=pb.Started(model_version=FLASH, model_status=told))

    for pays in (False, True):
        call = make_call(clock)
        call.outcome.pays = pays
        if whole:
            await Alone(pricing).unary(call, request, unary)
        else:
            await collect(Alone(pricing).stream(call, request, stream))
        asked = pb.ExecuteRequest(model=f"models/{FLASH}", prompt="x")
        warnings = [one.message for one in capability.judge(asked)[1]]
        assert ([f"{FLASH} will be shut down on 2027-06-01"] if pays else []) == warnings
    assert not capability.judge(request)[1]
