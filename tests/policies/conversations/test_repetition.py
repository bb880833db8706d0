"""A request that is repeated with its id makes one turn, and is given the same answer.

Covers: processing/answers/as_events.py
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import session_service_pb2 as sessions
from gemini_backend.errors import Conflict, ServiceError, UpstreamUnavailable
from gemini_backend.policies.conversations.repetition import sliced_turn_digest, turn_digest
from gemini_backend.principal import Principal
from gemini_backend.processing.answers.whole_answer import response_of
from tests.support.clock import FakeClock, settle
from tests.support.layers.session_layer import ANN, Desk, begun, reply, say, texts
from tests.support.messages.calls import make_call

ways = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
COST = content.Cost(cost_nano_usd=700, priced_model="models/m")
REFUSE = sessions.SESSION_CONCURRENCY_REFUSE


def whole(events: list[Any]) -> pb.ProcessResponse:
    """Return the answer of either way in one, without what is its execution's own."""
    (last, *_) = reversed(events)
    if isinstance(last, pb.ProcessResponse):
        answer = last
    else:
        answer = response_of([event.SerializeToString() for event in events])
        if last.completed.HasField("cost"):
            answer.cost.CopyFrom(last.completed.cost)
    return answer


@ways
@pytest.mark.parametrize("again", [True, False], ids=["streamed again", "whole again"])
async def test_a_repetition_is_given_the_stored_answer(
    clock: FakeClock, stream: bool, again: bool
) -> None:
    """The model is asked once, one turn is kept, and the cost is counted once, either way."""
    thought = content.Part(text="hm", thought=True)
    signed = content.Part(text="fine", thought_signature=b"\x80")
    desk = Desk(clock, reply(thought, signed, prompt=3), stream=stream)
    desk.model.cost = COST
    await desk.create()
    first = whole(await desk.ask("a", request_id="r"))
    before = (desk.kept(), desk.turns())
    desk.streams = again
    call = desk.call()
    second = whole(await desk.ask("a", request_id="r", call=call))
    assert ("e1", 700) == (second.started.replay_of, second.cost.saved_nano_usd)
    assert (0, False, "models/m") == (
        second.cost.cost_nano_usd,
        call.outcome.pays,
        call.outcome.model,
    )
    second.started.ClearField("replay_of")
    for answer in (first, second):
        answer.ClearField("cost")
    assert first == second
    assert (before, 1) == ((desk.kept(), desk.turns()), len(desk.model.asked))
    assert (1, 1) == (desk.counts.turns["kept"], desk.counts.turns["repeated"])
    assert (700, "r", 700) == (
        desk.session().cost.cost_nano_usd,
        desk.turns()[0].request_id,
        desk.turns()[0].cost.cost_nano_usd,
    )
    await desk.ask("b")
    assert ["user: a", "model: hmfine", "user: b"] == texts(desk.sent())


@ways
async def test_what_stands_beside_the_answer_is_given_again(clock: FakeClock, stream: bool) -> None:
    """Warnings, grounding, several candidates, hops and unknown fields too."""
    desk = Desk(clock, stream=stream)
    await desk.create()

    def candidate(index: int) -> content.Candidate:
        said = content.Content(role="model", parts=[content.Part(text=f"c{index}")])
        found = content.GroundingMetadata(web_search_queries=["q"])
        return content.Candidate(
            index=index, content=said, finish_reason=1, grounding_metadata=found
        )

    def answer() -> pb.ProcessResponse:
        return pb.ProcessResponse(
            candidates=[candidate(0), candidate(1)],
            started=pb.Started(
                model="models/m", model_version="m-1", warnings=[pb.Warning(code="A")]
            ),
            usage=content.Usage(prompt_token_count=1, prompt_tokens_details=[{"token_count": 1}]),
            continuations=2,
            extra_json='{"new":1}',
        )

    async def streamed(_call: Any, _request: Any) -> Any:
        response = answer()
        yield pb.ExecuteResponse(started=response.started)
        for one in response.candidates:
            delta = pb.Delta(
                candidate_index=one.index,
                role="model",
                parts=one.content.parts,
                finish_reason=1,
                grounding_metadata=one.grounding_metadata,
            )
            if not one.index:
                delta.response_extra_json = response.extra_json
            yield pb.ExecuteResponse(delta=delta)
        done = pb.Completed(finish_reason=1, usage=response.usage, continuations=2)
        done.warnings.add(code="B")
        yield pb.ExecuteResponse(completed=done)

    async def unary(_call: Any, _request: Any) -> pb.ProcessResponse:
        return answer()

    desk.model.stream, desk.model.unary = streamed, unary  # type: ignore[method-assign]
    first = whole(await desk.ask("a", request_id="r"))
    for desk.streams in (True, False):
        second = whole(await desk.ask("a", request_id="r"))
        second.started.ClearField("replay_of")
        assert first == second


async def test_a_streamed_repetition_ends_as_the_first_did(clock: FakeClock) -> None:
    """`completed` has the finish reason, and a blocked answer is a blocked answer again."""
    desk = Desk(clock, reply("tw", finish=content.FINISH_REASON_SAFETY))
    await desk.create()
    first = await desk.ask("a", request_id="r")
    second = await desk.ask("a", request_id="r")
    assert content.FINISH_REASON_SAFETY == second[-1].completed.finish_reason
    assert ["SESSION_TURN_NOT_KEPT"] == [one.code for one in first[-1].completed.warnings]
    assert ["SESSION_TURN_NOT_KEPT"] == [one.code for one in begun(second).warnings]
    assert 1 == len(desk.model.asked)


@ways
async def test_a_repetition_waits_for_the_first(clock: FakeClock, stream: bool) -> None:
    """While the first runs, whatever the session says of concurrent executions."""
    desk = Desk(clock, stream=stream)
    desk.model.seconds = 5
    await desk.create(concurrency=REFUSE)
    tasks = [asyncio.create_task(desk.ask("a", request_id="r")) for _ in range(3)]
    await settle()
    with pytest.raises(Conflict):
        await desk.ask("b", request_id="other")
    with pytest.raises(Conflict):
        await desk.ask("b")
    late = asyncio.create_task(desk.ask("a", request_id="r"))
    await clock.advance(5)
    answers = [whole(events) for events in await asyncio.gather(*tasks, late)]
    assert ["", "e1", "e1", "e1"] == [one.started.replay_of for one in answers]
    assert (1, 1, 0) == (len(desk.model.asked), desk.kept().turns, len(desk.policy._lines))


@ways
@pytest.mark.parametrize("failure", [UpstreamUnavailable("down"), asyncio.CancelledError()])
async def test_what_left_no_turn_is_run_again(
    clock: FakeClock, stream: bool, failure: BaseException
) -> None:
    """Where the first failed, or its caller left, there is nothing to repeat."""
    desk = Desk(clock, failure, reply("fine"), stream=stream)
    await desk.create()
    with pytest.raises(type(failure)):
        await desk.ask("a", request_id="r")
    answer = whole(await desk.ask("a", request_id="r"))
    assert ("", 1, 2) == (answer.started.replay_of, desk.kept().turns, len(desk.model.asked))


@ways
async def test_an_id_stands_for_one_request(clock: FakeClock, stream: bool) -> None:
    """Another request with it is refused, and says what to do."""
    desk = Desk(clock, stream=stream)
    await desk.create()
    await desk.ask("a", request_id="r")
    for said, more in (("b", {}), ("a", {"model": "other"}), ("a", {"labels": {"k": "v"}})):
        with pytest.raises(Conflict) as failed:
            await desk.ask(said, request_id="r", **more)
        assert "use a new request_id for each turn" in failed.value.message
    assert (1, 3, 0) == (desk.kept().turns, desk.counts.turns["refused"], len(desk.policy._lines))


@ways
async def test_ids_belong_to_a_session(clock: FakeClock, stream: bool) -> None:
    """Another session, another principal's, and one made anew know nothing of it."""
    bob = Principal("acme", "bob")
    desk = Desk(clock, stream=stream)
    for name, who in (("s", ANN), ("other", ANN), ("s", bob)):
        await desk.create(name, who=who)
        await desk.ask("a", name, request_id="r", call=desk.call(who))
    await desk.store.delete(next(iter(desk.store.entries)), "", desk.wall())
    await desk.create("s")
    await desk.ask("a", request_id="r")
    assert 4 == len(desk.model.asked)


async def test_requests_without_an_id_are_turns_of_their_own(clock: FakeClock) -> None:
    """Whoever says the same twice means it."""
    desk = Desk(clock)
    await desk.create()
    await desk.ask("a")
    await desk.ask("a")
    assert (2, 2) == (desk.kept().turns, len(desk.model.asked))


@ways
async def test_a_full_session_repeats_what_it_has(clock: FakeClock, stream: bool) -> None:
    """Bounds are for what is added."""
    desk = Desk(clock, stream=stream, max_turns=1)
    await desk.create()
    await desk.ask("a", request_id="r")
    assert "e1" == whole(await desk.ask("a", request_id="r")).started.replay_of


async def test_turns_that_a_summary_stands_for_are_known(clock: FakeClock) -> None:
    """The store keeps all turns, so all of them can be repeated."""
    desk = Desk(clock, reply("x" * 40), reply("sum"), limit=100, overflow="summarize")
    await desk.create()
    await desk.ask("a" * 50, request_id="r")
    await desk.ask("b" * 30)
    assert 1 == desk.kept().summarized
    assert "e1" == begun(await desk.ask("a" * 50, request_id="r")).replay_of


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"prompt": "a"}, {"contents": [say("a")]}, True),
        ({"prompt": "a"}, {"prompt": "a", "request_id": "x", "session": "sessions/x"}, True),
        ({"prompt": "a"}, {"prompt": "a", "priority": 1, "max_event_bytes": 70_000}, True),
        ({"prompt": "a"}, {"prompt": "a", "on_disconnect": {"mode": 3}}, True),
        ({"prompt": "a"}, {"prompt": "a", "first_token_timeout": {}, "idle_timeout": {}}, True),
        ({"prompt": "a"}, {"prompt": "a", "cache_control": {"mode": 2}}, False),
        ({"prompt": "a"}, {"prompt": "a", "generation_config": {"seed": 0}}, False),
        ({"prompt": "a"}, {"prompt": "A"}, False),
    ],
)
def test_what_makes_two_requests_the_same(one: Any, other: Any, same: bool) -> None:
    """All that is asked, and nothing of how and when the answer is to come."""
    digests = [turn_digest(pb.ExecuteRequest(**fields)) for fields in (one, other)]
    assert same is (digests[0] == digests[1])


class Ticking(FakeClock):
    """A hundredth of a second passes between any two looks at it."""

    def now(self) -> float:
        self._now += 0.01
        return self._now


async def test_a_large_request_is_digested_in_slices() -> None:
    """The digest is the same, and others are served meanwhile."""
    request, clock = pb.ExecuteRequest(prompt="x" * 3_000_000), Ticking()
    call = replace(make_call(clock), large=request.ByteSize())
    served = asyncio.create_task(asyncio.sleep(0))
    assert turn_digest(request) == await sliced_turn_digest(call, request, clock)
    assert served.done()


def test_digests_last() -> None:
    """They are stored: a later version has to make the same."""
    request = pb.ExecuteRequest(prompt="hi", model="m", labels={"b": "1", "a": "2"})
    expected = "436796e63da1cdc1c05f63ef4999130d84ed13d32789d1158dd2900d2907c35d"
    assert expected == turn_digest(request).hex()


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["ask", "other", "leave", "wait", "fail"]), st.integers(0, 3)),
        max_size=12,
    ),
    stream=st.booleans(),
    concurrency=st.sampled_from([REFUSE, sessions.SESSION_CONCURRENCY_QUEUE]),
)
async def test_whatever_happens_a_request_is_one_turn(
    steps: list[tuple[str, int]], stream: bool, concurrency: Any
) -> None:
    """However repetitions, failures and lost callers interleave, turns and sums agree."""
    clock = FakeClock()
    desk = Desk(clock, stream=stream)
    desk.model.seconds, desk.model.cost = 2, COST
    await desk.create(concurrency=concurrency)
    tasks: list[asyncio.Task[Any]] = []
    for step, number in steps:
        if step in {"ask", "other"}:
            asked = desk.ask(step, request_id=f"r-{step}")
            tasks.append(asyncio.create_task(asked))
            await settle()
        elif step == "leave" and number < len(tasks):
            tasks[number].cancel()
            await settle()
        elif step == "fail":
            desk.model.script.append(UpstreamUnavailable("down"))
        else:
            await clock.advance(number)
    while not all(task.done() for task in tasks):
        await clock.advance(2)
    for ended in await asyncio.gather(*tasks, return_exceptions=True):
        assert isinstance(ended, list | ServiceError | asyncio.CancelledError)
    ids = [turn.request_id for turn in desk.turns()]
    assert sorted(set(ids)) == sorted(ids)
    assert len(ids) * 700 == desk.session().cost.cost_nano_usd
    assert 0 == len(desk.policy._lines)
    before = len(desk.model.asked)
    for one in ids:
        await desk.ask(one.removeprefix("r-"), request_id=one)
    assert (before, ids) == (len(desk.model.asked), [turn.request_id for turn in desk.turns()])
