"""Models that a principal may use."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.call import Call, Work
from gemini_backend.errors import Forbidden
from gemini_backend.policies.checks.allowed_models import AllowedModels
from gemini_backend.policies.pipeline import Pipeline
from gemini_backend.principal import Principal
from tests.support.clock import FakeClock
from tests.support.layers.inproc import collect
from tests.support.messages.calls import completed, make_call, started

ANN = Principal("acme", "ann", models=("gemini-*-flash",))
FLASH, PRO = pb.ExecuteRequest(model="models/a-flash"), pb.ExecuteRequest(model="models/a-pro")


def call_of(principal: Principal, work: Work = Work.EXECUTION) -> Call:
    """Return a call of a principal."""
    return replace(make_call(FakeClock()), principal=principal, work=work)


async def passes(call: Call, request: pb.ExecuteRequest, *, on: bool = True) -> bool:
    """Say whether a whole answer and a stream pass alike."""

    async def whole(_call: Any, _asked: Any) -> pb.ProcessResponse:
        return pb.ProcessResponse()

    async def stream(_call: Any, _asked: Any) -> Any:
        for event in (started(), completed()):
            yield event

    policies = Pipeline(AllowedModels(on=on))
    answer = policies.unary(whole)(call, request)
    events = collect(policies.stream(stream)(call, request))
    ended = await asyncio.gather(answer, events, return_exceptions=True)
    refusals = [str(one) for one in ended if isinstance(one, Forbidden)]
    why = "acme/ann may not use models/a-pro; use one of gemini-*-flash, or ask an admin for it"
    assert refusals in ([], [why, why])
    return not refusals


@pytest.mark.parametrize(
    ("principal", "request_", "expected"),
    [
        (Principal("acme", "ann"), PRO, True),
        (Principal("acme", "ann", models=("a-*",)), PRO, True),
        (Principal("acme", "ann", models=("gemini-*-flash",)), PRO, False),
    ],
)
async def test_only_allowed_models_pass(
    principal: Principal, request_: pb.ExecuteRequest, expected: bool
) -> None:
    """All, where none are named."""
    assert expected == await passes(call_of(principal), request_)


async def test_a_summary_is_of_the_servers_own_model() -> None:
    """The caller did not choose it."""
    assert await passes(call_of(ANN, Work.SUMMARY), PRO)
    assert not await passes(call_of(ANN, Work.ITEM), PRO)


async def test_it_is_not_mounted_where_nobody_is_asked() -> None:
    """Off, it costs nothing."""
    assert await passes(call_of(ANN), PRO, on=False)
