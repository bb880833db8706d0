"""The session layer round a model that answers by script, on a store of plain dicts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import session_service_pb2 as sessions
from gemini_backend.api.messages.sessions import turns_of
from gemini_backend.call import Call  # noqa: TC001 - read at run time
from gemini_backend.config.sections.sessions import SessionsOptions
from gemini_backend.policies.base import opened
from gemini_backend.policies.conversations.fit_context import FitContext
from gemini_backend.policies.conversations.session import Session
from gemini_backend.policies.outcome.execution_events import ExecutionEvents
from gemini_backend.policies.pipeline import Pipeline
from gemini_backend.principal import Principal
from gemini_backend.stores.session_service import SessionContext
from gemini_backend.stores.sessions import NewSession, SessionKey, SessionRow
from gemini_backend.telemetry.events import SILENT
from gemini_backend.telemetry.metrics.listeners.session_counts import SessionCounts
from tests.support.layers.session_store import DictSessions
from tests.support.messages.calls import make_call
from tests.support.messages.events import heard_by

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from tests.support.clock import FakeClock

EPOCH = 1_700_000_000.0
STOP = content.FINISH_REASON_STOP
ANN = Principal("acme", "ann")


def say(*texts: str, role: str = "user") -> content.Content:
    """Return one turn of text."""
    return content.Content(role=role, parts=[content.Part(text=text) for text in texts])


def reply(*parts: content.Part | str, finish: Any = STOP, prompt: int = 0, **usage: Any) -> Any:
    """Return an answer of these parts, each a delta of its own."""
    made = [content.Part(text=part) if isinstance(part, str) else part for part in parts]
    counts = content.Usage(
        prompt_token_count=prompt or None, quality=content.USAGE_QUALITY_EXACT, **usage
    )
    return made, finish, counts


@dataclass
class Model:
    """Answers one thing after another, an error by raising it, and keeps what it was asked."""

    clock: FakeClock
    script: list[Any] = field(default_factory=list)
    asked: list[pb.ExecuteRequest] = field(default_factory=list)
    large: list[int] = field(default_factory=list)
    seconds: float = 0.0
    truncation: pb.TruncationReport | None = None
    cost: content.Cost | None = None

    async def stream(self, call: Call, request: pb.ExecuteRequest) -> AsyncIterator[Any]:
        parts, finish, usage = await self._next(call, request)
        yield pb.ExecuteResponse(started=self._started())
        for number, part in enumerate(parts, 1):
            last = number == len(parts)
            piece = pb.Delta(role="model", parts=[part], finish_reason=finish if last else 0)
            yield pb.ExecuteResponse(delta=piece)
            if self.seconds:
                await self.clock.sleep(self.seconds)
        done = pb.Completed(finish_reason=finish, usage=usage, cost=self.cost)
        yield pb.ExecuteResponse(completed=done)

    async def unary(self, call: Call, request: pb.ExecuteRequest) -> pb.ProcessResponse:
        parts, finish, usage = await self._next(call, request)
        if self.seconds:
            await self.clock.sleep(self.seconds)
        turn = content.Content(role="model", parts=parts)
        return pb.ProcessResponse(
            candidates=[content.Candidate(content=turn, finish_reason=finish)],
            usage=usage,
            cost=self.cost,
            started=self._started(),
        )

    def _started(self) -> pb.Started:
        return pb.Started(model="models/m", served_model="models/m", truncation=self.truncation)

    async def _next(self, call: Call, request: pb.ExecuteRequest) -> Any:
        self.large.append(call.large)
        self.asked.append(pb.ExecuteRequest.FromString(request.SerializeToString()))
        step = self.script.pop(0) if self.script else reply(f"answer {len(self.asked)}")
        if isinstance(step, BaseException):
            raise step
        return step


class Desk:
    """A session layer; `stream` says which of the two ways its executions take."""

    def __init__(
        self,
        clock: FakeClock,
        *script: Any,
        stream: bool = True,
        limit: int | None = None,
        **options: Any,
    ) -> None:
        """Answer by script; models take `limit` tokens, one a character."""
        self.clock = clock
        self.store = DictSessions()
        self.model = Model(clock, list(script))
        self.options = SessionsOptions(**options)
        self.counts = SessionCounts()
        context = SessionContext(self.store, lambda: self.options, self.wall, heard_by(self.counts))
        overflow = FitContext(
            lambda _model: None if limit is None else (limit, 100),
            count_characters,
            lambda: "m",
            lambda: self.options.overflow,
        )
        progress = ExecutionEvents(clock, SILENT)
        self.policy = Session(context, overflow, progress, clock)
        self.streams = stream
        self.executions = 0

    def wall(self) -> float:
        """Return seconds since the epoch, in step with the clock."""
        return EPOCH + self.clock.now()

    async def create(
        self,
        name: str = "s",
        history: Iterable[content.Content] = (),
        who: Principal = ANN,
        **fields: Any,
    ) -> None:
        """Make a session."""
        now = self.wall()
        turns = [turn.SerializeToString() for turn in turns_of(history, now)]
        head = sessions.Session(**fields).SerializeToString()
        tokens = sum(map(len, turns))
        uid = len(self.store.entries) + 1
        kept = SessionRow(
            name, uid, 1, head, now, now, None, turns=len(turns), bytes=tokens, tokens=tokens
        )
        await self.store.create(who.owner, NewSession(kept, turns), 1000)

    def call(self, who: Principal = ANN, deadline: float | None = None) -> Call:
        """Return the call of one more execution."""
        self.executions += 1
        call = make_call(self.clock, deadline=deadline)
        return replace(call, execution=f"e{self.executions}", principal=who)

    async def ask(self, said: Any, name: str = "s", **more: Any) -> list[Any]:
        """Run one turn; return its events, or the whole answer as the only one."""
        call = more.pop("call", None) or self.call()
        request = request_of(said, name, **more)
        return [event async for event in self.run(call, request)]

    async def run(self, call: Call, request: pb.ExecuteRequest) -> AsyncIterator[Any]:
        """Run a request through the layer."""
        pipeline = Pipeline(self.policy)
        if not self.streams:
            yield await pipeline.unary(self.model.unary)(call, request)
            return
        async with opened(pipeline.stream(self.model.stream)(call, request)) as events:
            async for event in events:
                yield event

    def kept(self, name: str = "s", who: Principal = ANN) -> SessionRow:
        """Return how a session stands."""
        return self.store.entries[SessionKey(who.owner, name)].kept

    def session(self, name: str = "s") -> sessions.Session:
        """Return what is kept of a session as such."""
        return sessions.Session.FromString(self.kept(name).head)

    def turns(self, name: str = "s", who: Principal = ANN) -> list[sessions.SessionTurn]:
        """Return the turns of a session."""
        held = self.store.entries[SessionKey(who.owner, name)].turns
        return [sessions.SessionTurn.FromString(data) for data in held]

    def sent(self, place: int = -1) -> list[content.Content]:
        """Return what the model was sent of a conversation."""
        return list(self.model.asked[place].contents)


def request_of(said: Any, name: str, **more: Any) -> pb.ExecuteRequest:
    """Return a request for one turn: of a prompt, or of contents."""
    session = f"sessions/{name}" if name else ""
    if isinstance(said, str):
        return pb.ExecuteRequest(prompt=said, session=session, **more)
    return pb.ExecuteRequest(contents=said, session=session, **more)


def begun(events: Sequence[Any]) -> pb.Started:
    """Return what the first event says, or the whole answer."""
    started: pb.Started = events[0].started
    return started


async def count_characters(contents: Sequence[content.Content]) -> int:
    """Count a token a character."""
    return sum(len(part.text) for said in contents for part in said.parts)


def texts(contents: Iterable[content.Content]) -> list[str]:
    """Return who says what, as `role: text`."""
    return [f"{said.role}: {''.join(part.text for part in said.parts)}" for said in contents]
