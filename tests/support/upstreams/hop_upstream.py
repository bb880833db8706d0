"""An upstream that gives an answer hop by hop, and knows the tokens that it gave."""

from __future__ import annotations

from copy import deepcopy
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.call import AttemptRecord
from gemini_backend.config.sections.execution import ExecutionOptions
from gemini_backend.policies.long_answers.continuation import Continuation
from gemini_backend.policies.pipeline import Pipeline
from gemini_backend.processing.answers.whole_answer import candidates_of
from tests.support.messages.calls import make_call

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from gemini_backend.call import Call
    from tests.support.clock import FakeClock

STOP = content.FINISH_REASON_STOP
MAX_TOKENS = content.FINISH_REASON_MAX_TOKENS
CONTINUATION = content.FINISH_REASON_CONTINUATION
EXACT = content.USAGE_QUALITY_EXACT
ESTIMATED = content.USAGE_QUALITY_ESTIMATED
NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


def usage_of(prompt: int, out: int, thoughts: int = 0, **more: Any) -> content.Usage:
    """Return a usage that adds up."""
    counts: dict[str, Any] = {"prompt_token_count": prompt, "candidates_token_count": out}
    if thoughts:
        counts["thoughts_token_count"] = thoughts
    return content.Usage(**counts, total_token_count=prompt + out + thoughts, **more)


def hop(
    *texts: str,
    token: bytes = b"",
    reason: int | None = None,
    usage: content.Usage | None = None,
    version: str = "gemini-test-001",
    response: str = "r1",
    **more: Any,
) -> list[pb.ExecuteResponse]:
    """Return the events of one hop, as an upstream gives them; `more` stands on its last delta.

    It ends with CONTINUATION where there is a token, else with STOP; usage comes with each piece,
    so far, and is exact at the end.
    """
    if reason is None:
        reason = CONTINUATION if token else STOP
    events = [pb.ExecuteResponse(started=pb.Started(model_version=version, response_id=response))]
    pieces = texts or ("",)
    for number, text in enumerate(pieces, 1):
        delta = pb.Delta(upstream_event=number)
        if text:
            delta.parts.add(text=text)
        if usage is not None:
            delta.usage.CopyFrom(usage)
            delta.usage.candidates_token_count = (
                usage.candidates_token_count * number // len(pieces)
            )
        if number == len(pieces):
            delta.finish_reason = reason  # type: ignore[assignment] # by number
            delta.continuation_token = token
            delta.MergeFrom(pb.Delta(**more))
        events.append(pb.ExecuteResponse(delta=delta))
    done = pb.Completed(finish_reason=reason, model_version=version, response_id=response)  # type: ignore[arg-type] # by number
    if reason == CONTINUATION:
        done.continuation_token = token
    if usage is not None:
        done.usage.CopyFrom(usage)
        done.usage.quality = EXACT
    return [*events, pb.ExecuteResponse(completed=done)]


class LongAnswer:
    """Plays a hop for each token: steps are events, seconds to wait, and errors.

    A token that is asked with again plays its next play, the last one for ever. `requests` are
    copies of what was asked, oldest first.
    """

    def __init__(self, clock: FakeClock, plays: dict[bytes, list[list[Any]]]) -> None:
        self.clock = clock
        self.plays = plays
        self.requests: list[pb.ExecuteRequest] = []
        self.open = 0
        self.key_of: Callable[[int], str] = lambda _: "k0"

    @property
    def tokens(self) -> list[bytes]:
        """The tokens that were asked with, in order."""
        return [request.continuation_token for request in self.requests]

    @property
    def limits(self) -> list[int]:
        """The limits of output tokens that were sent, in order."""
        return [request.generation_config.max_output_tokens for request in self.requests]

    async def stream(self, call: Call, request: Any) -> AsyncIterator[Any]:
        """Play a hop."""
        record = AttemptRecord(
            request.model, self.clock.now(), key_id=self.key_of(len(self.requests))
        )
        call.outcome.attempts.append(record)
        played = self.tokens.count(request.continuation_token)
        self.requests.append(pb.ExecuteRequest.FromString(request.SerializeToString()))
        plays = self.plays[request.continuation_token]
        self.open += 1
        try:
            for step in plays[min(played, len(plays) - 1)]:
                if isinstance(step, (int, float)):
                    await self.clock.sleep(step)
                elif isinstance(step, BaseException):
                    record.error = deepcopy(step)  # type: ignore[assignment]
                    raise deepcopy(step)
                else:
                    if step.HasField("completed"):
                        record.ended = self.clock.now()
                    yield pb.ExecuteResponse.FromString(step.SerializeToString())
        finally:
            self.open -= 1

    async def unary(self, call: Call, request: Any) -> pb.ProcessResponse:
        """Play a hop as a whole answer."""
        response = pb.ProcessResponse()
        deltas = []
        async for event in self.stream(call, request):
            if event.HasField("started"):
                response.started.CopyFrom(event.started)
            elif event.HasField("delta"):
                deltas.append(event.delta)
            elif event.completed.HasField("usage"):
                response.usage.CopyFrom(event.completed.usage)
        response.candidates.extend(candidates_of(deltas))
        return response


def long_answer(clock: FakeClock, *hops: list[Any]) -> LongAnswer:
    """Return an upstream of these hops, the tokens of which are t1, t2, ..."""
    plays = {b"t%d" % number if number else b"": [play] for number, play in enumerate(hops)}
    return LongAnswer(clock, plays)


class Run:
    """Executions through the continuation, with whatever else is to stand outside and inside."""

    def __init__(
        self,
        clock: FakeClock,
        upstream: LongAnswer,
        *,
        outside: Iterable[Any] = (),
        inside: Iterable[Any] = (),
        limits: tuple[int, int] = (0, 0),
        most: int = 32,
    ) -> None:
        self.clock = clock
        self.upstream = upstream
        options = ExecutionOptions(max_continuations=most)
        self.policy = Continuation(lambda: options, lambda _: limits, lambda: NOW)
        self.pipeline = Pipeline(*outside, self.policy, *inside)
        self.call = make_call(clock)
        self.seen: list[Any] = []

    async def stream(self, request: Any = None) -> list[Any]:
        """Return the events; those before a failure are in `seen`."""
        run = self.pipeline.stream(self.upstream.stream)
        async for event in run(self.call, request or asked()):
            self.seen.append(event)
        return self.seen

    async def whole(self, request: Any = None) -> pb.ProcessResponse:
        """Return the whole answer."""
        answer: pb.ProcessResponse = await self.pipeline.unary(self.upstream.unary)(
            self.call, request or asked()
        )
        return answer


def asked(**fields: Any) -> pb.ExecuteRequest:
    """Return a request; `most` is its `max_output_tokens`."""
    config: dict[str, Any] = {"temperature": 0}
    if "most" in fields:
        config["max_output_tokens"] = fields.pop("most")
    if "candidates" in fields:
        config["candidate_count"] = fields.pop("candidates")
    fields = {"prompt": "hello", "model": "models/a", **fields}
    return pb.ExecuteRequest(**fields, generation_config=content.GenerationConfig(**config))


def kinds(events: Iterable[Any]) -> list[str]:
    """Return what the events are."""
    return [str(event.WhichOneof("event")) for event in events]


def said(events: Iterable[Any]) -> str:
    """Return the text of all deltas."""
    return "".join(part.text for event in events for part in event.delta.parts)


def text_of(answer: pb.ProcessResponse) -> str:
    """Return the text of a whole answer."""
    return "".join(part.text for part in answer.candidates[0].content.parts)


def codes(warnings: Iterable[Any]) -> list[str]:
    """Return the codes of warnings."""
    return [warning.code for warning in warnings]
