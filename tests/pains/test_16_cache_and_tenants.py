"""Row 16: caches did not take streams; one tenant was served another's answer."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1.content_pb2 import GenerationConfig
from gemini_backend.call import Call, Work
from gemini_backend.clock import SystemClock
from gemini_backend.principal import Principal
from tests.support.composed import composed
from tests.support.layers.inproc import collect
from tests.support.messages.calls import EXECUTE, completed, delta, started
from tests.support.servers.simulator_stack import stack, text_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

COLD = GenerationConfig(temperature=0)
HIT, MISS = pb.CACHE_STATUS_HIT, pb.CACHE_STATUS_MISS


def whole_text(answer: pb.ProcessResponse) -> str:
    """Return the text of a whole answer."""
    return "".join(part.text for part in answer.candidates[0].content.parts)


@pytest.mark.parametrize("first", ["stream", "whole"])
async def test_pain_16_streams_and_whole_answers_share_the_cache(first: str) -> None:
    """Whichever asked first, both kinds are answered from what it brought, at no cost."""
    async with stack("--chunk-delay", "0.02") as one:
        request = pb.ExecuteRequest(prompt="Tell me of rivers", generation_config=COLD)
        other = pb.ProcessRequest.FromString(request.SerializeToString())
        if first == "stream":
            events = await collect(one.stub.Execute(request))
            text, status = text_of(events), events[0].started.cache_status
        else:
            answer = await one.stub.Process(other)
            text, status = whole_text(answer), answer.started.cache_status
        assert MISS == status
        before = await one.generated()
        events = await collect(one.stub.Execute(request))
        answer = await one.stub.Process(other)
        after = await one.generated()
    assert (text, text) == (text_of(events), whole_text(answer))
    assert (HIT, HIT) == (events[0].started.cache_status, answer.started.cache_status)
    assert events[-1].HasField("completed")
    assert 0 == after - before


async def test_pain_16_namespaces_are_apart() -> None:
    """The same request in another namespace is another request, cached or under way."""
    async with stack("--first-byte-delay", "0.3") as one:
        requests = [
            pb.ExecuteRequest(
                prompt="[[say: apart]] same",
                generation_config=COLD,
                cache_control=pb.CacheControl(cache_namespace=name),
            )
            for name in ("", "a", "b")
        ]
        under_way = await asyncio.gather(*(collect(one.stub.Execute(r)) for r in requests))
        kept = [await collect(one.stub.Execute(request)) for request in requests]
        generated = await one.generated()
    assert [MISS] * 3 == [events[0].started.cache_status for events in under_way]
    assert [HIT] * 3 == [events[0].started.cache_status for events in kept]
    assert 3 == generated


async def test_pain_16_no_tenant_is_served_anothers_answer() -> None:
    """Through the whole chain: identical requests of two tenants never share an answer."""
    parts, assembly = composed(SystemClock())
    numbers = count(1)

    async def model(call: Call, _request: Any) -> AsyncIterator[Any]:
        await asyncio.sleep(0.05)  # so that all are under way at the same time
        for event in (started(), delta(f"{call.principal.tenant} {next(numbers)}"), completed()):
            yield event

    chain = assembly.chain.pipeline(Work.EXECUTION).stream(model)

    async def ask(tenant: str, number: int) -> str:
        request = pb.ExecuteRequest(prompt="the same for all", generation_config=COLD)
        now = parts.base.clock.now()
        call = Call(EXECUTE, f"{tenant}-{number}", now, principal=Principal(tenant=tenant))
        return text_of(await collect(chain(call, request)))

    try:
        tenants = [f"tenant{number}" for number in range(5)]
        at_once = await asyncio.gather(*(ask(name, n) for name in tenants for n in range(4)))
        later = [await ask(name, 9) for name in tenants]
    finally:
        await assembly.aclose()
        await parts.aclose()
    for place, name in enumerate(tenants):
        (answer,) = set(at_once[4 * place : 4 * place + 4])
        assert answer.startswith(f"{name} ")
        assert answer == later[place]
    assert 6 == next(numbers)  # one answer each
