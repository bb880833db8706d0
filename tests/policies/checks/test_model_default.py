"""The name of the model, and names that the upstream cannot have."""

from __future__ import annotations

from typing import Any

import pytest

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.errors import InvalidRequest
from gemini_backend.policies.checks.model_default import ModelDefault
from gemini_backend.policies.pipeline import Pipeline
from gemini_backend.upstream.gemini.requests import addresses
from tests.support.clock import FakeClock
from tests.support.layers.inproc import collect
from tests.support.messages.calls import completed, make_call, started

VERTEX = [
    "publishers/google/models/gemini-3.5-flash",
    "projects/p/locations/l/publishers/google/models/gemini-3.5-flash",
    "projects/p/locations/l/endpoints/1",
    "endpoints/1",
]


async def prepared(request: pb.ExecuteRequest) -> list[pb.ExecuteRequest]:
    """Return what gets through, as a whole answer and as a stream."""
    seen: list[pb.ExecuteRequest] = []

    async def whole(_call: Any, asked: Any) -> pb.ProcessResponse:
        seen.append(asked)
        return pb.ProcessResponse()

    async def stream(_call: Any, asked: Any) -> Any:
        seen.append(asked)
        for event in (started(), completed()):
            yield event

    policies = Pipeline(ModelDefault(lambda: "default", addresses.objection))
    clock = FakeClock()
    first, second = pb.ExecuteRequest(), pb.ExecuteRequest()
    first.CopyFrom(request)
    second.CopyFrom(request)
    await policies.unary(whole)(make_call(clock), first)
    await collect(policies.stream(stream)(make_call(clock), second))
    return seen


@pytest.mark.parametrize(
    ("name", "expected"),
    [("", "models/default"), ("m", "models/m"), ("models/m", "models/m"), ("tunedModels/t",) * 2],
)
async def test_names_in_full(name: str, expected: str) -> None:
    """The default where there is none; what has a collection keeps it."""
    found = await prepared(pb.ExecuteRequest(prompt="a", model=name))
    assert [expected] * 2 == [request.model for request in found]


@pytest.mark.parametrize("name", VERTEX)
async def test_names_that_the_upstream_has_not(name: str) -> None:
    """They are refused before anybody looks them up, with what the upstream does serve."""
    for request, field in (
        (pb.ExecuteRequest(model=name), "model"),
        (pb.ExecuteRequest(fallback={"models": ["m", name]}), "fallback.models[1]"),
    ):
        with pytest.raises(
            InvalidRequest, match=r"models/\{model\} and tunedModels/\{model\}"
        ) as no:
            await prepared(request)
        assert [field] == [violation.field for violation in no.value.violations]
