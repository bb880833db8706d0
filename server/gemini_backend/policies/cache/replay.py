"""A kept answer, sent again: at once in few pieces, or at the pace that was asked for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1.content_pb2 import Part
from gemini_backend.durations import put_seconds, seconds_of
from gemini_backend.policies.attempts import deadline_passed
from gemini_backend.policies.cache.ready import ReadyAnswers
from gemini_backend.policies.event_stream import EventStream
from gemini_backend.policies.opening import begun
from gemini_backend.telemetry.events import AnswerReused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from gemini_backend.call import Call
    from gemini_backend.clock import Clock
    from gemini_backend.policies.cache.ready import Ready
    from gemini_backend.stores.answer_store import StoredAnswer
    from gemini_backend.telemetry.events import Publisher

    Tell = Callable[[pb.Started], None]

_read = pb.ExecuteResponse.FromString
_WORDS = 3
_PLAIN = ({"text"}, {"text", "thought"})
# A word with the blanks before it; scripts without blanks are cut between their signs, each with
# the marks that belong to it.
_SIGNS = r"\u3040-\u30ff\u3400-\u9fff"
_MARKS = r"[\u0300-\u036f\u3099\u309a\ufe00-\ufe0f\U000e0100-\U000e01ef]*"
_WORD = re.compile(rf"\s*(?:[{_SIGNS}]{_MARKS}|[^\s{_SIGNS}]+)|\s+")


class Replay:
    """Sends kept answers; whoever is given one pays nothing."""

    def __init__(self, clock: Clock, bus: Publisher, cache: Literal["exact", "semantic"]) -> None:
        """Publish each answer that is given, out of a cache of this kind."""
        self._clock = clock
        self._bus = bus
        self._cache = cache
        self._ready = ReadyAnswers()

    def whole(
        self, call: Call, answer: StoredAnswer, tell: Tell | None = None
    ) -> pb.ProcessResponse:
        """Return the answer in one; `tell` writes into `started` where it comes from."""
        ready = self._ready.of(answer.events)
        response = ready.whole()
        started = response.started
        self._date(call, started, answer)
        if tell is not None:
            tell(started)
        self._reused(call, ready)
        return response

    async def open(self, call: Call, request: Any, answer: StoredAnswer, tell: Tell) -> EventStream:
        """Return the answer's events, all at once or at the pace that is asked for."""
        if request.cache_control.HasField("replay_interval"):
            return await begun(self._at_pace(call, request, answer, tell))
        return self.at_once(call, answer, tell)

    def at_once(self, call: Call, answer: StoredAnswer, tell: Tell | None = None) -> EventStream:
        """Return the answer's events, all of them; where nobody tells, as a hit."""
        events = [_read(data) for data in answer.events]
        started = events[0].started
        self._date(call, started, answer)
        if tell is not None:
            tell(started)
        self._reused(call, self._ready.of(answer.events))
        return EventStream(events)

    async def _at_pace(
        self, call: Call, request: Any, answer: StoredAnswer, tell: Tell
    ) -> AsyncIterator[pb.ExecuteResponse]:
        """Yield the answer's events, its text word by word.

        Raises:
            DeadlinePassed: the call's deadline does, at such a pace.
        """
        pause = seconds_of(request.cache_control.replay_interval)
        for event in map(_read, answer.events):
            if event.HasField("delta"):
                async for piece in self._paced(call, event, pause):
                    yield piece
                continue
            if event.HasField("started"):
                self._date(call, event.started, answer)
                tell(event.started)
            elif event.HasField("completed"):
                self._reused(call, self._ready.of(answer.events))
            yield event

    async def _paced(
        self, call: Call, event: pb.ExecuteResponse, pause: float
    ) -> AsyncIterator[pb.ExecuteResponse]:
        for piece in pieces(event):
            left = call.remaining(self._clock.now())
            await self._clock.sleep(pause if left is None else min(pause, left))
            if left is not None and left <= pause:
                raise deadline_passed(call)
            yield piece

    def _reused(self, call: Call, ready: Ready) -> None:
        call.outcome.given = ready
        self._bus.publish(AnswerReused(call.execution, self._cache, ready.version, ready.usage))

    def _date(self, call: Call, started: pb.Started, answer: StoredAnswer) -> None:
        call.outcome.pays = False
        age = max(0.0, self._clock.now() - answer.stored)
        put_seconds(started.cache_age, age)


def pieces(event: pb.ExecuteResponse) -> Iterator[pb.ExecuteResponse]:
    """Cut a delta's plain text into a few words each; all else stays with the last piece."""
    parts = list(event.delta.parts)
    for number, part in enumerate(parts, 1):
        last = number == len(parts)
        names = {field.name for field, _ in part.ListFields()}
        texts = _cut(part.text) if names in _PLAIN else []
        for text in texts[:-1]:
            piece = pb.ExecuteResponse(delta=pb.Delta(parts=[Part(text=text)]))
            if part.HasField("thought"):
                piece.delta.parts[0].thought = part.thought
            if event.delta.HasField("candidate_index"):
                piece.delta.candidate_index = event.delta.candidate_index
            yield piece
        if texts:
            part.text = texts[-1]
        if last:
            del event.delta.parts[:]
            event.delta.parts.add().CopyFrom(part)
            yield event
        else:
            piece = pb.ExecuteResponse(delta=pb.Delta(parts=[part]))
            if event.delta.HasField("candidate_index"):
                piece.delta.candidate_index = event.delta.candidate_index
            yield piece
    if not parts:
        yield event


def _cut(text: str) -> list[str]:
    words = _WORD.findall(text)
    return ["".join(words[at : at + _WORDS]) for at in range(0, len(words), _WORDS)]
