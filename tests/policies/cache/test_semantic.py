"""Alike is enough for the last text only; everything else must be the same."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.duration_pb2 import Duration
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.config.sections.answers import CacheOptions
from gemini_backend.config.sections.embed import SemanticCacheOptions
from gemini_backend.errors import NotCached, UpstreamUnavailable
from gemini_backend.policies.cache.fill import CacheFill
from gemini_backend.policies.cache.lookup import CacheLookup
from gemini_backend.policies.cache.semantic import SemanticCache
from gemini_backend.policies.pipeline import Pipeline
from gemini_backend.principal import Principal
from gemini_backend.stores.memory_answers import MemoryAnswers
from gemini_backend.stores.vectors import Vectors
from gemini_backend.telemetry.metrics.listeners.cache_counts import CacheCounts
from tests.support.clock import FakeClock
from tests.support.layers.inproc import collect
from tests.support.messages.events import heard_by
from tests.support.upstreams.counting_upstream import (
    GOOD,
    Upstream,
    answer_of,
    ask,
    caller,
    text_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gemini_backend.call import Call

LETTERS = "abcdefghijklmnopqrstuvwxyz"
LONG, LONGER = "which river is the longest", "which river is the longest one"
OTHER = "quiz jokes by vex"


class Case:
    """A semantic cache between the exact one and an upstream; texts are alike by their letters."""

    def __init__(self, clock: FakeClock, **options: Any) -> None:
        self.clock = clock
        self.options = SemanticCacheOptions(enabled=True, dimensions=26, threshold=0.9, **options)
        self.cache_options = CacheOptions()
        self.counts = CacheCounts()
        self.store = MemoryAnswers(100, 1_000_000, clock.now)
        self.upstream = Upstream(clock, *GOOD)
        self.failure: Exception | None = None
        self.slow = 0.0
        self.none = False
        self.embedded = 0
        self.semantic = SemanticCache(
            lambda: self.options,
            lambda: self.cache_options,
            self.store,
            Vectors(26, 100),
            self._embed,
            clock=clock,
            bus=heard_by(self.counts),
        )
        cache = CacheLookup(lambda: self.cache_options, self.store, clock)
        fill = CacheFill(lambda: self.cache_options, self.store, clock)
        self.pipeline = Pipeline(cache, self.semantic, fill)

    async def _embed(self, _call: Call, text: str) -> Sequence[float] | None:
        self.embedded += 1
        if self.none:
            return None
        if self.slow:
            await self.clock.sleep(self.slow)
        if self.failure is not None:
            raise self.failure
        return [float(text.lower().count(letter)) for letter in LETTERS]

    async def stream(self, request: Any, tenant: str = "default") -> list[Any]:
        call = caller(self.clock)
        call = replace(call, principal=Principal(tenant=tenant))
        self.call = call
        task = asyncio.ensure_future(
            collect(self.pipeline.stream(self.upstream.stream)(call, request))
        )
        while not task.done():
            await self.clock.advance(0.1)
        return await task


def status(events: list[Any]) -> int:
    found: int = events[0].started.cache_status
    return found


def asking(prompt: str, **fields: Any) -> pb.ExecuteRequest:
    request = ask(**fields)
    request.prompt = prompt
    return request


async def test_a_request_that_means_the_same_gets_the_answer(clock: FakeClock) -> None:
    """It is marked, says how alike the two are, costs no run, and is paid for by nobody."""
    case = Case(clock)
    first = await case.stream(asking(LONG))
    second = await case.stream(asking(LONGER))
    assert (1, text_of(first)) == (case.upstream.runs, text_of(second))
    started = second[0].started
    assert pb.CACHE_STATUS_SEMANTIC_HIT == started.cache_status
    assert 0.9 <= started.cache_similarity < 1
    assert not case.call.outcome.pays
    assert (1, 1, 1) == (
        case.counts.semantic.results["hit"],
        case.counts.semantic.results["miss"],
        case.semantic.stores,
    )


async def test_another_meaning_gets_an_answer_of_its_own(clock: FakeClock) -> None:
    """Below the threshold nothing is served; the threshold may be changed at any time."""
    case = Case(clock)
    await case.stream(asking(LONG))
    assert pb.CACHE_STATUS_MISS == status(await case.stream(asking(OTHER)))
    case.options = SemanticCacheOptions(enabled=True, dimensions=26, threshold=1.0)
    assert pb.CACHE_STATUS_MISS == status(await case.stream(asking(LONGER)))
    assert 3 == case.upstream.runs


async def test_the_rest_of_an_answer_is_the_rest_of_no_other(clock: FakeClock) -> None:
    """A request with a continuation_token is not looked up, however alike it is."""
    case = Case(clock)
    await case.stream(asking(LONG, continuation_token=b"t"))
    await case.stream(asking(LONGER, continuation_token=b"t"))
    assert (2, 0) == (case.upstream.runs, case.embedded)


async def test_whole_answers_are_found_too(clock: FakeClock) -> None:
    """A stream's answer serves a Process call, and the other way round."""
    case = Case(clock)
    await case.stream(asking(LONG))
    unary: Any = case.pipeline.unary(case.upstream.unary)
    response = await unary(caller(clock), asking(LONGER))
    assert pb.CACHE_STATUS_SEMANTIC_HIT == response.started.cache_status
    other = Case(clock)
    other.upstream = Upstream(clock, answer_of("whole"))
    made = other.pipeline.unary(other.upstream.unary)
    await made(caller(clock), asking(LONG))
    assert (
        pb.CACHE_STATUS_SEMANTIC_HIT
        == (await made(caller(clock), asking(LONGER))).started.cache_status
    )


def _tool(name: str) -> content.Tool:
    return content.Tool(function_declarations=[content.FunctionDeclaration(name=name)])


DIFFERENCES = {
    "model": {"model": "models/b"},
    "system_instruction": {"system_instruction": {"parts": [{"text": "be brief"}]}},
    "tools": {"tools": [_tool("f")]},
    "generation_config": {
        "generation_config": content.GenerationConfig(temperature=0, max_output_tokens=9)
    },
    "namespace": {"cache_control": pb.CacheControl(cache_namespace="n")},
    "cached_content": {"cached_content": "cachedContents/x"},
}


@given(st.sampled_from(sorted(DIFFERENCES)), st.booleans())
def test_what_differs_in_anything_else_is_never_alike(name: str, reverse: bool) -> None:
    """Model, system instruction, tools, settings, namespace: the very same text does not match."""

    async def run() -> None:
        case = Case(FakeClock())
        requests = [asking(LONG), asking(LONGER, **DIFFERENCES[name])]
        for request in reversed(requests) if reverse else requests:
            assert pb.CACHE_STATUS_MISS == status(await case.stream(request))
        assert 2 == case.upstream.runs

    asyncio.run(run())


async def test_tenants_never_share(clock: FakeClock) -> None:
    """Another tenant's answer is not found, however alike the words."""
    case = Case(clock)
    await case.stream(asking(LONG), tenant="a")
    assert pb.CACHE_STATUS_MISS == status(await case.stream(asking(LONGER), tenant="b"))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("the longest river in 1914", "a longest river in 1914?", True),
        ("the longest river in 1914", "the longest river in 1915", False),
        ("the order 8f3a9c of mine", "the order 8f3a9d of mine", False),
        ("from 5 to 7 in the evening", "from 7 to 5 in the evening", False),
        ("the longest river in ١٩١٤", "the longest river in ١٩١٥", False),
        ("the longest river in 1914", "the longest river in", False),
    ],
)
async def test_numbers_must_be_the_same(
    clock: FakeClock, one: str, other: str, *, same: bool
) -> None:
    """A text with another number, or with the same ones in another order, is never alike."""
    case = Case(clock)
    await case.stream(asking(one))
    expected = pb.CACHE_STATUS_SEMANTIC_HIT if same else pb.CACHE_STATUS_MISS
    assert expected == status(await case.stream(asking(other)))


async def test_earlier_turns_must_be_the_same(clock: FakeClock) -> None:
    """A conversation matches only one that went the same way; one turn is the same as a prompt."""
    case = Case(clock)

    def talk(*texts: str) -> pb.ExecuteRequest:
        request = ask()
        request.ClearField("prompt")
        for number, text in enumerate(texts):
            role = "model" if number % 2 else "user"
            request.contents.add(role=role).parts.add(text=text)
        return request

    await case.stream(talk("hi", "hello", LONG))
    assert pb.CACHE_STATUS_MISS == status(await case.stream(talk("ho", "hello", LONGER)))
    assert pb.CACHE_STATUS_SEMANTIC_HIT == status(await case.stream(talk("hi", "hello", LONGER)))
    await case.stream(asking(LONG))
    assert pb.CACHE_STATUS_SEMANTIC_HIT == status(await case.stream(talk(LONGER)))


async def test_what_is_not_plain_text_is_not_concerned(clock: FakeClock) -> None:
    """Media, answers of functions, a session: no vector is even asked for."""
    case = Case(clock)
    picture = ask()
    picture.ClearField("prompt")
    turn = picture.contents.add(role="user")
    turn.parts.add(text=LONG)
    turn.parts.add(inline_data={"mime_type": "image/png", "data": b"x"})
    answer = ask()
    answer.ClearField("prompt")
    answer.contents.add(role="user").parts.add(function_response={"name": "f"})
    warm = asking(LONG)
    warm.generation_config.temperature = 1
    for request in (picture, answer, warm, asking(LONG, session="sessions/s")):
        await case.stream(request)
    bypass = pb.CacheControl(mode=pb.CACHE_MODE_BYPASS)
    await case.stream(asking(LONG, cache_control=bypass))
    assert 0 == case.embedded


async def test_cache_control_counts_here_too(clock: FakeClock) -> None:
    """REFRESH makes a new answer, ONLY_IF_CACHED has nothing exact, `ttl` bounds the age."""
    case = Case(clock)
    await case.stream(asking(LONG))
    refresh = pb.CacheControl(mode=pb.CACHE_MODE_REFRESH)
    await case.stream(asking(LONGER, cache_control=refresh))
    assert 2 == case.upstream.runs
    await clock.advance(100)
    young = pb.CacheControl(ttl=Duration(seconds=50))
    third = await case.stream(asking(LONG + " of all", cache_control=young))
    assert (pb.CACHE_STATUS_MISS, 3) == (status(third), case.upstream.runs)
    only = pb.CacheControl(mode=pb.CACHE_MODE_ONLY_IF_CACHED)
    with pytest.raises(NotCached):
        await case.stream(asking(OTHER, cache_control=only))


@pytest.mark.parametrize("broken", ["failure", "slow", "none"])
async def test_a_vector_that_cannot_be_had_costs_the_request_nothing(
    clock: FakeClock, broken: str
) -> None:
    """The request goes on without; it waits no longer than the setting says."""
    case = Case(clock)
    await case.stream(asking(LONG))
    if broken == "failure":
        case.failure = UpstreamUnavailable("down")
    elif broken == "none":
        case.none = True
    else:
        case.slow = 100.0
    began = clock.now()
    assert pb.CACHE_STATUS_MISS == status(await case.stream(asking(LONGER)))
    assert clock.now() - began < 1
    assert 1 == case.counts.semantic.results["bypass"]


async def test_an_answer_that_is_gone_is_not_found(clock: FakeClock) -> None:
    """A vector whose answer has had its time leads to nothing."""
    case = Case(clock)
    await case.stream(asking(LONG))
    await clock.advance(4000)
    assert pb.CACHE_STATUS_MISS == status(await case.stream(asking(LONGER)))
