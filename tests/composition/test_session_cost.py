"""What a session has cost, through the chain as it is composed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import session_service_pb2 as sessions
from gemini_backend.call import Work
from gemini_backend.clock import SystemClock
from gemini_backend.telemetry.events import SessionChanged
from tests.support.composed import NoUpstream, composed
from tests.support.layers.inproc import collect
from tests.support.layers.recorder import Recorder
from tests.support.messages.calls import make_call

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from gemini_backend.call import Call

# A model that takes little, so that a session is soon summarized; prices are per 10^6 tokens.
CATALOGUE = """
[[models]]
name = "tiny-1"
display_name = "Tiny"
generation = 4.5
release = "2026-01-01"
input_token_limit = 9_000
output_token_limit = 20_000
input_modalities = ["text"]
output_modalities = ["text"]
capabilities = ["generate_content", "stream_generate_content", "system_instruction"]

[[models.prices]]
input = 100_000_000
output = 200_000_000
"""
PROMPT, OUTPUT = 10, 5
ONE = (PROMPT * 100_000_000 + OUTPUT * 200_000_000) // 10**6


class Priced(NoUpstream):
    """Answers everything alike, with the same usage, and counts how often."""

    def __init__(self) -> None:
        self.asked = 0

    def _usage(self) -> content.Usage:
        self.asked += 1
        return content.Usage(
            prompt_token_count=PROMPT,
            candidates_token_count=OUTPUT,
            total_token_count=PROMPT + OUTPUT,
            quality=content.USAGE_QUALITY_EXACT,
        )

    async def stream(self, _call: Any, _request: Any) -> AsyncIterator[pb.ExecuteResponse]:  # type: ignore[override]
        usage = self._usage()
        stop = content.FINISH_REASON_STOP
        yield pb.ExecuteResponse(started=pb.Started(model_version="tiny-1"))
        said = content.Part(text=f"answer {self.asked}")
        yield pb.ExecuteResponse(delta=pb.Delta(role="model", parts=[said], finish_reason=stop))
        done = pb.Completed(finish_reason=stop, usage=usage, model_version="tiny-1")
        yield pb.ExecuteResponse(completed=done)

    async def process(self, _call: Any, _request: Any) -> pb.ProcessResponse:
        usage = self._usage()
        said = content.Content(role="model", parts=[content.Part(text=f"answer {self.asked}")])
        stop = content.FINISH_REASON_STOP
        return pb.ProcessResponse(
            candidates=[content.Candidate(content=said, finish_reason=stop)],
            started=pb.Started(model_version="tiny-1"),
            usage=usage,
        )


class Talk:
    """One session of a composed server."""

    def __init__(self, tmp_path: Path, upstream: Priced) -> None:
        file = tmp_path / "catalogue.toml"
        file.write_text(CATALOGUE)
        settings = {"MODELS__CATALOGUE_FILE": str(file), "SESSIONS__OVERFLOW": "summarize"}
        self.clock = SystemClock()
        self.upstream = upstream
        self.parts, self.assembly = composed(self.clock, upstream, **settings)
        self.asked = 0

    def call(self) -> Call:
        self.asked += 1
        return replace(make_call(self.clock), execution=f"executions/{self.asked}")  # type: ignore[arg-type]

    async def create(self, *history: str) -> None:
        turns = [
            content.Content(role=role, parts=[content.Part(text=text)])
            for text in history
            for role in ("user", "model")
        ]
        request = sessions.CreateSessionRequest(session_id="s", history=turns)
        await self.assembly.services["SessionService"].CreateSession(self.call(), request)

    async def ask(self, prompt: str, *, whole: bool) -> int:
        """Run one turn; return what it says that it cost."""
        request = pb.ExecuteRequest(prompt=prompt, session="sessions/s", model="tiny-1")
        pipeline = self.assembly.chain.pipeline(Work.EXECUTION)
        if whole:
            answer = await pipeline.unary(self.upstream.process)(self.call(), request)
            return int(answer.cost.cost_nano_usd)
        events = await collect(pipeline.stream(self.upstream.stream)(self.call(), request))
        return int(events[-1].completed.cost.cost_nano_usd)

    async def cost(self) -> int:
        """Return what the session says that it has cost."""
        request = sessions.GetSessionRequest(name="sessions/s")
        service = self.assembly.services["SessionService"]
        return int((await service.GetSession(self.call(), request)).session.cost.cost_nano_usd)

    async def aclose(self) -> None:
        await self.assembly.aclose()
        await self.parts.aclose()


@pytest.fixture
async def talk(tmp_path: Path) -> AsyncIterator[Talk]:
    """A composed server that knows one model, and no session yet."""
    made = Talk(tmp_path, Priced())
    yield made
    await made.aclose()


@pytest.mark.parametrize("whole", [False, True], ids=["stream", "whole"])
async def test_a_sessions_cost_is_the_sum_of_its_turns(talk: Talk, whole: bool) -> None:
    """Each turn's cost, as the caller was told it, is added to the session's."""
    await talk.create()
    costs = [await talk.ask(f"turn {number}", whole=whole) for number in range(3)]
    assert ([ONE] * 3, 3 * ONE) == (costs, await talk.cost())


@pytest.mark.parametrize("whole", [False, True], ids=["stream", "whole"])
async def test_a_summary_costs_the_session_what_it_cost(talk: Talk, whole: bool) -> None:
    """A summary of older turns is paid for as well: the session has both, the caller the turn."""
    await talk.create(*("word " * 900 for _ in range(8)))
    cost = await talk.ask("and now?", whole=whole)
    assert (2, ONE, 2 * ONE) == (talk.upstream.asked, cost, await talk.cost())


@pytest.mark.parametrize("whole", [False, True], ids=["stream", "whole"])
async def test_a_summary_is_in_the_sums_of_the_server(talk: Talk, whole: bool) -> None:
    """It is an execution of its own that ends before the turn; its cost is counted once."""
    heard = Recorder(talk.parts.base.bus)
    await talk.create(*("word " * 900 for _ in range(8)))
    await talk.ask("and now?", whole=whole)
    assert [
        ("executions/2-summary", Work.SUMMARY, "models/tiny-1", ONE),
        ("executions/2", Work.EXECUTION, "models/tiny-1", ONE),
    ] == [(one.execution, one.work, one.model, one.cost_nano_usd) for one in heard.finished]
    summarized = SessionChanged("default", "sessions/s", "summarized")
    assert [summarized] == [one for one in heard.of(SessionChanged) if one.change != "created"]
    assert 2 * ONE == talk.parts.seen.costs.cost_nano_usd
    assert 2 == talk.parts.seen.metrics.performance().executions.counts.total
