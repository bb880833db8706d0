"""A new listener subscribes, and hears the whole story of an execution in its order.

It is heard on the product's own chain; no policy knows of the listener.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import session_service_pb2 as sessions
from gemini_backend.call import AttemptRecord, Work
from gemini_backend.errors import Overloaded, ServiceError
from gemini_backend.telemetry.events import (
    AdmissionRefused,
    AnswerReused,
    AttemptFinished,
    CacheLookedUp,
    ExecutionFinished,
    ExecutionStarted,
    FellBack,
    HedgeStarted,
    HedgeWon,
    ModelResolved,
    RetryScheduled,
    SessionChanged,
    SessionTurnEnded,
    StoreVisited,
    attempt_finished,
)
from tests.support.composed import NoUpstream, composed
from tests.support.layers.inproc import collect
from tests.support.layers.recorder import Recorder
from tests.support.messages.calls import completed, delta, make_call, started
from tests.support.upstreams.scripted_attempts import ANSWER, DOWN, Attempts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

    from gemini_backend.call import Call
    from gemini_backend.telemetry.events.event import Event
    from gemini_backend.upstream.base import EmbedBatch
    from tests.support.clock import FakeClock

A, B = "models/a", "models/b"


class Upstream(Attempts, NoUpstream):
    """Publishes the end of each attempt, as upstreams do."""

    bus: Any = None

    async def stream(self, call: Call, request: Any) -> AsyncIterator[Any]:  # type: ignore[override]
        place = len(call.outcome.attempts)
        try:
            async for event in super().stream(call, request):
                yield event
        except ServiceError as error:
            call.outcome.attempts[place].error = error
            raise
        finally:
            record = call.outcome.attempts[place]
            record.ended = self._clock.now()
            self.bus.publish(attempt_finished(call, record))

    async def embed(self, call: Call, batch: EmbedBatch) -> pb.EmbedResponse:  # type: ignore[override]
        record = AttemptRecord(batch.model, self._clock.now(), self._clock.now())
        call.outcome.attempts.append(record)
        self.bus.publish(attempt_finished(call, record))
        vectors = [pb.Embedding(values=[1.0]) for _ in batch.requests]
        usage = content.Usage(prompt_token_count=1000 * len(vectors))
        return pb.EmbedResponse(embeddings=vectors, usage=usage)


class Server:
    """The product's own chain and services round an upstream, and a listener of its events."""

    def __init__(self, clock: FakeClock, *plays: tuple[Any, ...], **settings: str) -> None:
        self.clock = clock
        self.upstream = Upstream(clock, *plays)
        stated = {"RETRY__INITIAL_DELAY_MS": "0", "RETRY__BUDGET_RATIO": "1", **settings}
        self.parts, self.assembly = composed(clock, self.upstream, **stated)
        self.upstream.bus = self.parts.base.bus
        self.heard = Recorder(self.parts.base.bus)
        self.run = self.assembly.chain.pipeline(Work.EXECUTION).stream(self.upstream.stream)

    async def wait(self, work: Awaitable[Any]) -> Any:
        """Wait for work, part of which a thread does, while the clock goes on."""
        task = asyncio.ensure_future(work)
        while not task.done():
            await self.clock.advance(0.01)
            await asyncio.sleep(0.001)
        return await task

    async def ask(self, **fields: Any) -> list[Any]:
        request = pb.ExecuteRequest(prompt="hello", model="a", **fields)
        events: list[Any] = await self.wait(collect(self.run(make_call(self.clock), request)))
        return events

    def story(self, *without: type[Event]) -> list[Event]:
        """Return what was heard of the execution, but for some types."""
        return [event for event in self.heard.events if not isinstance(event, without)]

    async def aclose(self) -> None:
        await self.assembly.aclose()
        await self.parts.aclose()


async def test_a_turn_of_a_session_that_is_retried_and_falls_back(clock: FakeClock) -> None:
    """Start, model, cache, attempts, retry, fallback, session, end: each once, in this order."""
    server = Server(clock, DOWN, DOWN, ANSWER, CACHE__MODE="all", RETRY__MAX_ATTEMPTS="4")
    service = server.assembly.services["SessionService"]
    request = sessions.CreateSessionRequest(session_id="s")
    await server.wait(service.CreateSession(make_call(clock), request))
    assert [SessionChanged("default", "sessions/s", "created")] == server.story(StoreVisited)
    server.heard.events.clear()
    await server.ask(session="sessions/s", fallback=pb.Fallback(models=["b"]))
    story = [
        replace(event, seconds=0.0) if isinstance(event, AttemptFinished) else event
        for event in server.story(StoreVisited)
    ]
    failed = ("e1", Work.EXECUTION, A, "", 0.0, "failed", "UPSTREAM_UNAVAILABLE")
    assert [
        ExecutionStarted("e1", make_call(clock).method, Work.EXECUTION, "default", "anonymous"),
        ModelResolved("e1", A),
        CacheLookedUp("e1", "exact", "miss"),
        AttemptFinished(*failed),
        RetryScheduled("e1", A, 1, 0.0, "UPSTREAM_UNAVAILABLE"),
        AttemptFinished(*failed),
        FellBack("e1", A, B, "UPSTREAM_UNAVAILABLE"),
        AttemptFinished("e1", Work.EXECUTION, B, "", 0.0, "succeeded"),
        SessionTurnEnded("e1", "default", "sessions/s", "kept"),
    ] == story[:-1]
    (end,) = server.heard.finished
    assert story[-1] is end
    assert ("OK", A, "gemini-test-001", 3) == (end.code, end.model, end.served_model, end.attempts)
    visited = [event.operation for event in server.heard.of(StoreVisited)]
    assert ["load", "put"] == visited
    await server.aclose()


async def test_a_hit_has_no_attempt(clock: FakeClock) -> None:
    """Nobody pays for it, and it is known what it saves."""
    server = Server(clock, ANSWER, CACHE__MODE="all")
    await server.ask()
    server.heard.events.clear()
    await server.ask()
    kinds = [ExecutionStarted, ModelResolved, CacheLookedUp, AnswerReused, ExecutionFinished]
    assert kinds == [type(event) for event in server.story()]
    assert ["hit"] == [event.result for event in server.heard.of(CacheLookedUp)]
    assert [7] == [event.usage.total_token_count for event in server.heard.of(AnswerReused)]
    assert [(False, 0)] == [(one.pays, one.attempts) for one in server.heard.finished]
    await server.aclose()


async def test_an_execution_that_is_refused_a_slot(clock: FakeClock) -> None:
    """The refusal names the execution; nothing was attempted."""
    settings = {"ADMISSION__MAX_CONCURRENT_REQUESTS": "1", "ADMISSION__MAX_QUEUED": "0"}
    server = Server(clock, (5, *ANSWER), **settings, CACHE__MODE="off", COALESCE__MODE="off")
    first = asyncio.ensure_future(server.ask())
    await clock.advance(0.1)
    server.heard.events.clear()
    with pytest.raises(Overloaded):
        await collect(server.run(make_call(clock), pb.ExecuteRequest(prompt="x", model="a")))
    kinds = [ExecutionStarted, ModelResolved, CacheLookedUp, AdmissionRefused, ExecutionFinished]
    assert kinds == [type(event) for event in server.story()]
    assert ["e1"] == [event.execution for event in server.heard.of(AdmissionRefused)]
    (end,) = server.heard.finished
    assert ("RESOURCE_EXHAUSTED", "POLICY_OVERLOADED", 0) == (end.code, end.reason, end.attempts)
    await first
    await server.aclose()


async def test_a_second_attempt_that_wins(clock: FakeClock) -> None:
    """It is published when it starts and when it has won, before the loser's end."""
    fast = (started("fast"), delta("fast"), completed())
    settings = {"HEDGE__ENABLED": "true", "HEDGE__DELAY_MS": "2000", "HEDGE__BUDGET_RATIO": "1"}
    server = Server(clock, (100, *ANSWER), fast, **settings)
    await server.ask()
    attempts = (HedgeStarted, HedgeWon, AttemptFinished)
    told = [event for event in server.story() if isinstance(event, attempts)]
    assert [HedgeStarted("e1", A), HedgeWon("e1", A)] == told[:2]
    assert ["cancelled", "succeeded"] == [
        event.outcome for event in told[2:] if isinstance(event, AttemptFinished)
    ]
    await server.aclose()


async def test_embeddings_have_a_story_of_their_own(clock: FakeClock) -> None:
    """Of callers who share a batch there is one: tokens and cost are in the server's sums once."""
    server = Server(clock)
    said = [content.Content(parts=[content.Part(text="x")])]
    request = pb.EmbedRequest(model="gemini-embedding-001", contents=said)
    calls = [server.assembly.embedding.embed(make_call(clock), request) for _ in range(2)]
    await server.wait(asyncio.gather(*calls))
    kinds = [ExecutionStarted, AttemptFinished, ExecutionFinished]
    assert kinds == [type(event) for event in server.story()]
    (end,) = server.heard.finished
    assert (Work.EMBEDDING, "models/gemini-embedding-001", 1) == (end.work, end.model, end.attempts)
    assert 300_000 == end.cost_nano_usd == server.parts.seen.costs.cost_nano_usd
    text = server.parts.seen.metrics.exposition().decode()
    assert 'gemini_backend_cost_usd_total{model="gemini-embedding-001"} 0.0003' in text
    tokens = 'gemini_backend_tokens_total{kind="prompt",model="gemini-embedding-001"} 2000.0'
    assert tokens in text
    counted = [one for one in text.splitlines() if one.startswith("gemini_backend_executions_to")]
    assert [] == [one for one in counted if not one.endswith(" 0.0")]
    await server.aclose()
