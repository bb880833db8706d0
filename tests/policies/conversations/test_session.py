"""A turn becomes a conversation; what was answered whole is kept, and nothing else.

Covers: policies/conversations/conversation.py, policies/conversations/usage_totals.py
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.duration_pb2 import Duration

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.errors import (
    AnswerBlocked,
    Conflict,
    ServiceError,
    StoreUnavailable,
    UnknownResource,
    UpstreamUnavailable,
)
from gemini_backend.principal import Principal
from tests.support.clock import settle
from tests.support.layers.session_layer import Desk, begun, reply, request_of, say, texts

if TYPE_CHECKING:
    from tests.support.clock import FakeClock

BOB = Principal("acme", "bob")
SIGNED = content.Part(
    function_call=content.FunctionCall(id="c1", name="look"), thought_signature=b"\x00\xff\x01"
)
RESULT = content.Content(
    role="user",
    parts=[
        content.Part(function_response=content.FunctionResponse(id="c1", name="look")),
    ],
)
ways = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])


@ways
async def test_each_turn_is_sent_with_all_before_it(clock: FakeClock, stream: bool) -> None:
    """The model is sent the whole conversation, and the session's name to nobody."""
    desk = Desk(clock, reply("one"), reply("t", "wo"), stream=stream)
    await desk.create()
    for said in ("a", "b", "c"):
        await desk.ask(said)
    assert ["user: a", "model: one", "user: b", "model: two", "user: c"] == texts(desk.sent())
    assert {""} == {request.session + request.prompt for request in desk.model.asked}
    assert (3, 3, 4) == (desk.kept().turns, desk.counts.turns["kept"], desk.kept().version)


@ways
async def test_a_turn_is_one_read_and_one_write(clock: FakeClock, stream: bool) -> None:
    """The store is visited twice for each turn."""
    desk = Desk(clock, stream=stream)
    await desk.create()
    desk.store.visits.clear()
    await desk.ask("a")
    assert ["load", "put"] == desk.store.visits


async def test_without_a_session_nothing_is_touched(clock: FakeClock) -> None:
    """A request that names no session is handed on as it is, by the same object."""
    desk = Desk(clock)
    request = request_of("a", "")
    seen = []

    async def rest(_call: Any, asked: Any) -> Any:
        seen.append(asked)
        return "whole"

    async def events(_call: Any, asked: Any) -> Any:
        seen.append(asked)
        return "events"

    assert "whole" == await desk.policy.unary(desk.call(), request, rest)
    assert "events" == await desk.policy.stream(desk.call(), request, events)
    assert all(one is request for one in seen)
    assert [] == desk.store.visits


@ways
async def test_signatures_and_calls_are_kept_byte_for_byte(clock: FakeClock, stream: bool) -> None:
    """What the model said comes back to it part by part as it was, signatures included."""
    signed_text = content.Part(text="", thought_signature=b"\x80\x01")
    unknown = content.Part.FromString(content.Part(text="x").SerializeToString() + b"\xfa\x07\x01z")
    thought = content.Part(text="hm", thought=True)
    desk = Desk(clock, reply(thought, SIGNED), reply("fine", signed_text), stream=stream)
    await desk.create()
    asked = content.Content(role="user", parts=[unknown])
    await desk.ask([asked])
    await desk.ask([RESULT])
    await desk.ask("c")
    model = content.Content(role="model", parts=[thought, SIGNED])
    second = content.Content(role="model", parts=[content.Part(text="fine"), signed_text])
    expected = [asked, model, RESULT, second, say("c")]
    assert [one.SerializeToString() for one in expected] == [
        one.SerializeToString() for one in desk.sent()
    ]


@ways
async def test_a_turn_says_who_answered_and_what_it_used(clock: FakeClock, stream: bool) -> None:
    """Model, execution, usage and time stand on the turn; usage is added up on the session."""
    answers = [reply("x", prompt=3, total_token_count=5) for _ in range(2)]
    desk = Desk(clock, *answers, stream=stream)
    await desk.create()
    await desk.ask("a")
    await desk.ask("b")
    turn = desk.turns()[1]
    assert ("models/m", "e2", 5, 2) == (
        turn.model,
        turn.execution,
        turn.usage.total_token_count,
        turn.index,
    )
    assert round(desk.wall() * 1e6) == turn.create_time.ToMicroseconds()
    assert (6, 10) == (
        desk.session().usage.prompt_token_count,
        desk.session().usage.total_token_count,
    )


async def test_what_others_paid_for_is_not_counted(clock: FakeClock) -> None:
    """An answer out of the cache, or of a shared run, adds nothing to the session's usage."""
    desk = Desk(clock, reply("x", prompt=3))
    await desk.create()
    call = desk.call()
    call.outcome.pays = False
    await desk.ask("a", call=call)
    assert (1, 0) == (desk.kept().turns, desk.session().usage.prompt_token_count)


@ways
@pytest.mark.parametrize(
    "error", [UpstreamUnavailable("down"), AnswerBlocked("no"), asyncio.CancelledError()]
)
async def test_what_fails_leaves_the_session_as_it_was(
    clock: FakeClock, stream: bool, error: BaseException
) -> None:
    """An execution that ends in a status is no turn; the next one goes on from before it."""
    desk = Desk(clock, reply("one"), error, reply("two"), stream=stream)
    await desk.create()
    await desk.ask("a")
    before = desk.kept()
    with pytest.raises(type(error)):
        await desk.ask("b")
    assert (before, 1) == (desk.kept(), desk.counts.turns["abandoned"])
    await desk.ask("c")
    assert ["user: a", "model: one", "user: c"] == texts(desk.sent())


@ways
async def test_what_was_blocked_on_the_way_is_kept_without_output(
    clock: FakeClock, stream: bool
) -> None:
    """A completed answer that was blocked is a turn without output, and is not sent again."""
    blocked = reply("one ", "tw", finish=content.FINISH_REASON_SAFETY)
    desk = Desk(clock, blocked, reply("fine"), stream=stream)
    await desk.create()
    await desk.ask("a")
    (turn,) = desk.turns()
    assert not turn.HasField("output")
    assert ("a", "one tw") == (
        turn.inputs[0].parts[0].text,
        "".join(part.text for part in turn.candidates[0].content.parts),
    )
    assert content.FINISH_REASON_SAFETY == turn.candidates[0].finish_reason
    await desk.ask("b")
    assert ["user: b"] == texts(desk.sent())


async def test_results_of_calls_stay_with_their_calls(clock: FakeClock) -> None:
    """Where the answer to function results was blocked, the results are sent again nonetheless."""
    blocked = reply("x", finish=content.FINISH_REASON_RECITATION)
    desk = Desk(clock, reply(SIGNED), blocked)
    await desk.create()
    await desk.ask("a")
    await desk.ask([RESULT])
    await desk.ask("b")
    assert [say("a"), content.Content(role="model", parts=[SIGNED]), RESULT, say("b")] == (
        desk.sent()
    )


async def test_an_answer_cut_short_by_its_limit_is_kept(clock: FakeClock) -> None:
    """MAX_TOKENS is no failure: the turn has its output."""
    desk = Desk(clock, reply("on", finish=content.FINISH_REASON_MAX_TOKENS))
    await desk.create()
    await desk.ask("a")
    assert "on" == desk.turns()[0].output.parts[0].text


@ways
async def test_grounding_citations_and_ratings_stay_with_the_turn(
    clock: FakeClock, stream: bool
) -> None:
    """What came with an answer is kept on its turn, from whichever piece it came with."""
    ratings = [content.SafetyRating(category=content.HARM_CATEGORY_HARASSMENT)]
    works = [content.CitationSource(uri=f"https://w{n}.example") for n in range(2)]
    grounding = content.GroundingMetadata(web_search_queries=["rivers"])
    desk = Desk(clock, stream=stream)
    await desk.create()
    whole = content.Candidate(
        content=say("ab", role="model"),
        finish_reason=content.FINISH_REASON_STOP,
        safety_ratings=ratings,
        citation_metadata=content.CitationMetadata(citation_sources=works),
        grounding_metadata=grounding,
    )
    desk.model = Grounded(clock, whole)
    await desk.ask("a")
    (turn,) = desk.turns()
    assert say("ab", role="model") == turn.output
    whole.ClearField("content")
    assert [whole] == list(turn.candidates)


class Grounded:
    """A model whose stream tells a candidate in pieces, empty grounding among them."""

    def __init__(self, clock: FakeClock, whole: content.Candidate) -> None:
        self.whole = whole

    async def stream(self, _call: Any, _request: Any) -> Any:
        whole = self.whole
        works = whole.citation_metadata.citation_sources
        pieces = [
            pb.Delta(
                role="model",
                parts=[content.Part(text="a")],
                citation_metadata=content.CitationMetadata(citation_sources=works[:1]),
                safety_ratings=whole.safety_ratings,
            ),
            pb.Delta(
                parts=[content.Part(text="b")],
                grounding_metadata=whole.grounding_metadata,
                citation_metadata=content.CitationMetadata(citation_sources=works[1:]),
            ),
            pb.Delta(
                grounding_metadata=content.GroundingMetadata(),
                finish_reason=whole.finish_reason,
            ),
        ]
        yield pb.ExecuteResponse(started=pb.Started())
        for piece in pieces:
            yield pb.ExecuteResponse(delta=piece)
        yield pb.ExecuteResponse(completed=pb.Completed())

    async def unary(self, _call: Any, _request: Any) -> Any:
        return pb.ProcessResponse(candidates=[self.whole])


async def test_every_candidate_is_kept_and_the_first_one_goes_on(clock: FakeClock) -> None:
    """Of several candidates all are kept; the conversation goes on with the first."""
    desk = Desk(clock, stream=False)
    await desk.create()
    both = [content.Candidate(index=n, content=say(f"c{n}", role="model")) for n in range(2)]

    async def answer(_call: Any, _request: Any) -> Any:
        return pb.ProcessResponse(candidates=both)

    desk.model.unary = answer  # type: ignore[method-assign]
    await desk.ask("a")
    (turn,) = desk.turns()
    assert ("c0", "c1") == (
        turn.output.parts[0].text,
        turn.candidates[1].content.parts[0].text,
    )


async def test_defaults_of_the_session_apply(clock: FakeClock) -> None:
    """Model, instruction and labels come from the session where the request gives none."""
    desk = Desk(clock)
    system = say("be brief")
    await desk.create(model="models/own", system_instruction=system, labels={"a": "1", "b": "2"})
    await desk.ask("x")
    await desk.ask("y", model="other", system_instruction=say("be long"), labels={"b": "3"})
    first, second = desk.model.asked
    assert ("models/own", system, {"a": "1", "b": "2"}) == (
        first.model,
        first.system_instruction,
        dict(first.labels),
    )
    assert ("other", "be long", {"a": "1", "b": "3"}) == (
        second.model,
        second.system_instruction.parts[0].text,
        dict(second.labels),
    )


@pytest.mark.parametrize("who", [BOB, Principal("other", "ann"), Principal()])
async def test_a_session_of_somebody_else_is_not_there(clock: FakeClock, who: Principal) -> None:
    """Another principal, of the same tenant or not, is told what is told of no session at all."""
    desk = Desk(clock)
    await desk.create()
    with pytest.raises(UnknownResource) as theirs:
        await desk.ask("a", call=desk.call(who))
    with pytest.raises(UnknownResource) as nobodys:
        await desk.ask("a", name="none")
    assert theirs.value.message == nobodys.value.message.replace("none", "s")
    assert ([], 2) == (desk.model.asked, desk.counts.turns["refused"])


async def test_what_has_expired_is_not_there(clock: FakeClock) -> None:
    """A session lives for its ttl after its latest turn, and each turn begins it anew."""
    desk = Desk(clock)
    await desk.create(ttl=Duration(seconds=10))
    for _ in range(3):
        await desk.ask("a")
        await clock.advance(9)
    await clock.advance(1)
    with pytest.raises(UnknownResource):
        await desk.ask("b")


@pytest.mark.parametrize(("seconds", "expires"), [(100.0, 100.0), (0, None)])
async def test_the_configured_ttl_counts_where_the_session_has_none(
    clock: FakeClock, seconds: float, expires: float | None
) -> None:
    """0 is for ever."""
    desk = Desk(clock, ttl_seconds=seconds)
    await desk.create()
    await desk.ask("a")
    assert (None if expires is None else desk.wall() + expires) == desk.kept().expires


async def test_a_turn_is_kept_before_its_last_event(clock: FakeClock) -> None:
    """Whoever has seen `completed` can rely on the turn, and the next one need not wait."""
    desk = Desk(clock)
    await desk.create()
    events = desk.run(desk.call(), request_of("a", "s"))
    async for event in events:
        assert (1 if event.HasField("completed") else 0) == desk.kept().turns
        if event.HasField("completed"):
            await asyncio.wait_for(desk.ask("b"), 1)
            break
    await events.aclose()  # type: ignore[attr-defined]
    assert 2 == desk.kept().turns


@ways
async def test_a_session_changed_elsewhere_keeps_no_turn(clock: FakeClock, stream: bool) -> None:
    """Where another process was faster, the execution ends ABORTED in place of `completed`."""
    desk = Desk(clock, stream=stream)
    await desk.create()
    desk.model.seconds = 5
    task = asyncio.create_task(desk.ask("a"))
    await settle()
    entry = next(iter(desk.store.entries.values()))
    later = replace(entry.kept, version=entry.kept.version + 1)
    assert await desk.store.put(entry.kept, later, None)
    await clock.advance(5)
    with pytest.raises(Conflict) as failed:
        await task
    assert "was changed or deleted" in failed.value.message
    assert (0, 1) == (desk.kept().turns, desk.counts.turns["lost"])


@ways
async def test_a_store_that_fails_fails_the_turn(clock: FakeClock, stream: bool) -> None:
    """An answer that cannot be kept is no success, and not to be paid for again by a retry."""
    desk = Desk(clock, stream=stream)
    await desk.create()

    async def put(*_: Any) -> bool:
        raise StoreUnavailable("no room")

    desk.store.put = put  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailable) as failed:
        await desk.ask("a")
    assert failed.value.final
    assert 1 == desk.counts.turns["lost"]


async def test_every_failure_gives_the_turn_back(clock: FakeClock) -> None:
    """Whatever goes wrong before, in or after the execution, the session can be used again."""
    desk = Desk(clock, UpstreamUnavailable("down"))
    with pytest.raises(UnknownResource):
        await desk.ask("a")
    await desk.create()
    with pytest.raises(ServiceError):
        await desk.ask("a")
    events = desk.run(desk.call(), request_of("b", "s"))
    assert begun([await anext(events)]).model
    await events.aclose()  # type: ignore[attr-defined]
    assert (0, 0) == (len(desk.policy._lines), desk.kept().turns)
    await desk.ask("c")
    assert 1 == desk.kept().turns
