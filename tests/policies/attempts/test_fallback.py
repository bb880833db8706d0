"""Fallback: which model is next, for which failures, and what the caller is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.call import Work
from gemini_backend.config.sections.resilience import FallbackOptions
from gemini_backend.errors import (
    AnswerBlocked,
    CircuitOpen,
    ContextTooLong,
    DailyQuotaExhausted,
    DeadlinePassed,
    FirstTokenTimeout,
    InvalidRequest,
    KeyRefused,
    PromptBlocked,
    QuotaExhausted,
    RefusedByModelApi,
    ServiceError,
    StreamCut,
    Throttled,
    UnknownModel,
    UnsupportedByModel,
    UpstreamUnavailable,
)
from gemini_backend.policies.attempts.fallback import Fallback
from gemini_backend.policies.base import with_model
from gemini_backend.telemetry.events import AttemptFinished, FellBack
from tests.support.layers.alone import Alone
from tests.support.layers.inproc import collect
from tests.support.layers.recorder import Recorder
from tests.support.messages.calls import delta, make_call, started
from tests.support.upstreams.scripted_attempts import (
    ANSWER,
    DOWN,
    Attempts,
    finish,
    texts,
)

if TYPE_CHECKING:
    from tests.support.clock import FakeClock

UNSPECIFIED = pb.FALLBACK_CONDITION_UNSPECIFIED
UNAVAILABLE = pb.FALLBACK_CONDITION_UNAVAILABLE
THROTTLED = pb.FALLBACK_CONDITION_THROTTLED
BLOCKED = pb.FALLBACK_CONDITION_BLOCKED
TOO_LONG = pb.FALLBACK_CONDITION_CONTEXT_TOO_LONG


def request_of(*models: str, conditions: tuple[Any, ...] = ()) -> pb.ExecuteRequest:
    """Return a request that names further models."""
    return pb.ExecuteRequest(
        prompt="hello",
        model="models/a",
        fallback=pb.Fallback(models=models, conditions=conditions),
    )


async def run(
    clock: FakeClock,
    request: Any,
    upstream: Attempts,
    options: FallbackOptions | None = None,
    deadline: float | None = None,
) -> list[Any]:
    """Run one stream to its end."""
    policy = Fallback(lambda: options or FallbackOptions(), clock)
    call = make_call(clock, deadline=deadline)
    return await finish(clock, collect(Alone(policy).stream(call, request, upstream.stream)))


async def test_the_next_model_answers(clock: FakeClock) -> None:
    """Models are asked in order; the caller sees one whole answer and who served it."""
    upstream = Attempts(clock, DOWN, DOWN, ANSWER)
    request = request_of("b", "models/c")
    events = await run(clock, request, upstream)
    assert ["models/a", "models/b", "models/c"] == upstream.models
    assert "ab" == texts(events)
    assert ("models/a", "models/c") == (events[0].started.model, events[0].started.served_model)
    assert "models/a" == request.model  # requests are read-only


async def test_a_whole_answer_too(clock: FakeClock) -> None:
    """Unary calls obey the same rules."""
    upstream = Attempts(clock, DOWN, ANSWER)
    policy = Fallback(FallbackOptions, clock)
    answer = await Alone(policy).unary(make_call(clock), request_of("b"), upstream.unary)
    assert ("models/a", "models/b") == (answer.started.model, answer.started.served_model)
    assert 1 == policy.switched


async def test_every_attempt_is_recorded(clock: FakeClock) -> None:
    """The call knows of each model that was asked."""
    upstream = Attempts(clock, DOWN, ANSWER)
    call = make_call(clock)
    policy = Fallback(FallbackOptions, clock)
    await collect(Alone(policy).stream(call, request_of("b"), upstream.stream))
    assert ["models/a", "models/b"] == [attempt.model for attempt in call.outcome.attempts]


async def test_nothing_is_switched_after_the_first_event(clock: FakeClock) -> None:
    """After the first event the failure is the caller's to see."""
    upstream = Attempts(clock, (started(), delta("a"), StreamCut("cut")), ANSWER)
    with pytest.raises(StreamCut):
        await run(clock, request_of("b"), upstream)
    assert 1 == upstream.count


@pytest.mark.parametrize(
    ("error", "conditions", "switches"),
    [
        (UpstreamUnavailable("x"), (), True),
        (FirstTokenTimeout("x"), (), True),
        (StreamCut("x"), (), True),
        (CircuitOpen("x"), (), True),
        (Throttled("x"), (), True),
        (DailyQuotaExhausted("x"), (), True),
        (QuotaExhausted("x"), (), True),
        (PromptBlocked("x"), (), False),
        (PromptBlocked("x"), (BLOCKED,), True),
        (AnswerBlocked("x"), (BLOCKED,), True),
        (ContextTooLong("x"), (), False),
        (ContextTooLong("x"), (TOO_LONG,), True),
        (RefusedByModelApi("no such field"), (TOO_LONG,), False),
        (Throttled("x"), (UNAVAILABLE,), False),
        (UpstreamUnavailable("x"), (THROTTLED,), False),
        (InvalidRequest("x"), (), False),
        (KeyRefused("x"), (), False),
        (DeadlinePassed("x"), (), False),
        (KeyRefused("x"), (UNSPECIFIED,), False),
        (UpstreamUnavailable("x"), (UNSPECIFIED,), True),
        (UpstreamUnavailable("x"), (UNSPECIFIED, THROTTLED), False),
    ],
)
async def test_the_conditions_decide(
    clock: FakeClock, error: ServiceError, conditions: tuple[Any, ...], switches: bool
) -> None:
    """Without conditions UNAVAILABLE and THROTTLED lead on; others only when they are named."""
    upstream = Attempts(clock, (error,), ANSWER)
    request = request_of("b", conditions=conditions)
    if switches:
        assert "ab" == texts(await run(clock, request, upstream))
    else:
        with pytest.raises(type(error)):
            await run(clock, request, upstream)
    assert 1 + switches == upstream.count


async def test_when_none_answers_it_is_the_first_failure_that_is_told(clock: FakeClock) -> None:
    """The caller learns why the model it asked for failed, and which others did too."""
    upstream = Attempts(clock, (Throttled("a", retry_after=7),), DOWN)
    with pytest.raises(Throttled) as failed:
        await run(clock, request_of("b", "c"), upstream)
    assert 7 == failed.value.retry_after
    assert {"fallback_models": "models/b,models/c"} == failed.value.metadata


async def test_a_stand_in_that_cannot_do_it_is_passed_over(clock: FakeClock) -> None:
    """A stand-in that does not take the request leads on to the next one."""
    upstream = Attempts(clock, DOWN, (RefusedByModelApi("no thinking here"),), ANSWER)
    assert "ab" == texts(await run(clock, request_of("b", "c"), upstream))


@pytest.mark.parametrize("whole", [False, True])
async def test_a_stand_in_that_is_known_to_be_unable_is_not_asked(
    clock: FakeClock, whole: bool
) -> None:
    """It is passed over without a call, which the attempts tell; the next one answers."""
    gone = UnknownModel("b has been shut down")

    def check(_call: Any, request: Any) -> tuple[Any, list[pb.Warning]]:
        if request.model == "models/b":
            raise gone
        last = request.model == "models/c"
        return request, [pb.Warning(code="MODEL_DEPRECATED")] if last else []

    upstream = Attempts(clock, DOWN, ANSWER)
    heard = Recorder()
    policy, call = Fallback(FallbackOptions, clock, check, heard.bus), make_call(clock)
    if whole:
        first = await Alone(policy).unary(call, request_of("b", "c"), upstream.unary)
    else:
        stream = Alone(policy).stream(call, request_of("b", "c"), upstream.stream)
        first = (await finish(clock, collect(stream)))[0]
    assert ["models/a", "models/c"] == upstream.models
    assert ["MODEL_DEPRECATED"] == [one.code for one in first.started.warnings]
    tried = [(one.model, one.error) for one in call.outcome.attempts if one.model == "models/b"]
    assert [("models/b", gone)] == tried
    assert 1 == policy.switched
    assert [
        FellBack("e1", "models/a", "models/b", "UPSTREAM_UNAVAILABLE"),
        AttemptFinished("e1", Work.EXECUTION, "models/b", "", 0.0, "failed", gone.reason),
        FellBack("e1", "models/b", "models/c", gone.reason),
    ] == heard.events


async def test_when_no_stand_in_is_able_the_first_failure_is_told(clock: FakeClock) -> None:
    """None of them is asked, and the message names them all."""

    def check(_call: Any, request: Any) -> None:
        raise UnsupportedByModel(f"{request.model} cannot do it")

    upstream = Attempts(clock, DOWN)
    stream = Alone(Fallback(FallbackOptions, clock, check)).stream
    with pytest.raises(UpstreamUnavailable) as failed:
        await collect(stream(make_call(clock), request_of("b", "c"), upstream.stream))
    assert 1 == upstream.count
    assert {"fallback_models": "models/b,models/c"} == failed.value.metadata


async def test_what_replaces_a_stand_in_is_asked_once(clock: FakeClock) -> None:
    """A stand-in that is gone may be replaced, but not by one whose turn has been."""

    def check(_call: Any, request: Any) -> tuple[Any, list[pb.Warning]]:
        if request.model == "models/old":
            request = with_model(request, "models/b")
        replaced = request.model == "models/b"
        return request, [pb.Warning(code="MODEL_REPLACED")] if replaced else []

    for names in (("old", "b", "c"), ("b", "old", "c")):
        upstream = Attempts(clock, DOWN, DOWN, ANSWER)
        stream = Alone(Fallback(FallbackOptions, clock, check)).stream
        asked = collect(stream(make_call(clock), request_of(*names), upstream.stream))
        await finish(clock, asked)
        assert ["models/a", "models/b", "models/c"] == upstream.models


async def test_a_stand_in_that_blocks_has_answered(clock: FakeClock) -> None:
    """A block is not got round by the way of another failure."""
    upstream = Attempts(clock, DOWN, (PromptBlocked("no"),), ANSWER)
    with pytest.raises(PromptBlocked):
        await run(clock, request_of("b", "c"), upstream)
    assert 2 == upstream.count


async def test_no_model_is_asked_after_the_deadline(clock: FakeClock) -> None:
    """When time is up the failure is told, without a further attempt."""
    upstream = Attempts(clock, (5, *DOWN), ANSWER)
    with pytest.raises(UpstreamUnavailable):
        await run(clock, request_of("b"), upstream, deadline=5)
    assert 1 == upstream.count


async def test_configured_models_are_for_requests_without_their_own(clock: FakeClock) -> None:
    """A request's models take the place of the configured ones; repeated ones are asked once."""
    options = FallbackOptions(models=("x", "a", "x", "y"))
    upstream = Attempts(clock, DOWN)
    with pytest.raises(UpstreamUnavailable):
        await run(clock, request_of(), upstream, options)
    assert ["models/a", "models/x", "models/y"] == upstream.models
    upstream = Attempts(clock, DOWN)
    with pytest.raises(UpstreamUnavailable):
        await run(clock, request_of("b"), upstream, options)
    assert ["models/a", "models/b"] == upstream.models
