"""A conversation is kept within what the model takes, in the way that the session says.

Covers: policies/conversations/drop_oldest.py, policies/conversations/summary.py
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import session_service_pb2 as sessions
from gemini_backend.errors import (
    Conflict,
    ContextTooLong,
    DeadlinePassed,
    StoreUnavailable,
    UpstreamUnavailable,
)
from tests.support.layers.session_layer import Desk, begun, reply, say, texts

if TYPE_CHECKING:
    from tests.support.clock import FakeClock

DROP = sessions.SESSION_OVERFLOW_DROP_OLDEST
SUMMARIZE = sessions.SESSION_OVERFLOW_SUMMARIZE
REFUSE = sessions.SESSION_OVERFLOW_REFUSE
TEN = "x" * 10
ways = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
CALL = content.Part(function_call=content.FunctionCall(name="look"), text=None)
RESULT = content.Content(
    role="user", parts=[content.Part(function_response=content.FunctionResponse(name="look"))]
)


def turns(count: int) -> list[content.Content]:
    """Return a history of turns of 20 tokens each."""
    said = []
    for number in range(count):
        said += [say(f"q{number}".ljust(10)), say(f"a{number}".ljust(10), role="model")]
    return said


def firsts(contents: list[content.Content]) -> list[str]:
    """Return the first two letters of what is said."""
    return [text.partition(": ")[2][:2] for text in texts(contents)]


@ways
@pytest.mark.parametrize("configured", [True, False])
async def test_the_oldest_turns_are_left_out(
    clock: FakeClock, stream: bool, configured: bool
) -> None:
    """As many of the oldest turns go as have to, `started` says so, and the store keeps all."""
    options = {"overflow": "drop_oldest" if configured else "refuse"}
    desk = Desk(clock, stream=stream, limit=60, **options)
    await desk.create(history=turns(3), overflow=0 if configured else DROP)
    events = await desk.ask(TEN)
    assert ["q1", "a1", "q2", "a2", "xx"] == firsts(desk.sent())
    report = pb.TruncationReport(
        truncation=pb.TRUNCATION_DROP_OLDEST,
        dropped_turns=1,
        original_tokens=70,
        remaining_tokens=50,
    )
    assert report == begun(events).truncation
    assert 4 == len(desk.turns())


async def test_what_fits_is_sent_whole(clock: FakeClock) -> None:
    """At exactly the limit nothing goes, and nothing is said of it."""
    desk = Desk(clock, limit=70)
    await desk.create(history=turns(3))
    events = await desk.ask(TEN)
    assert 7 == len(desk.sent())
    assert not begun(events).HasField("truncation")


async def test_without_a_known_limit_all_is_sent(clock: FakeClock) -> None:
    """Of a model that nobody knows, the model API itself says what it takes."""
    desk = Desk(clock, limit=None)
    await desk.create(history=turns(50))
    await desk.ask(TEN)
    assert 101 == len(desk.sent())


async def test_nothing_is_counted_while_there_is_room(clock: FakeClock) -> None:
    """What the model API said of the turn before will do while the limit is far."""
    counted: list[Any] = []
    desk = Desk(clock, reply("x", prompt=300), limit=10_000)
    await desk.create()

    async def count(contents: Any) -> int:
        counted.append(contents)
        return 0

    desk.policy._overflow._count = count
    for _ in range(3):
        await desk.ask(TEN)
    assert [] == counted
    assert 300 < desk.kept().tokens < 500


async def test_tools_that_are_new_are_counted(clock: FakeClock) -> None:
    """What the model API said of the turn before holds no tool that this turn is the first with."""
    desk = Desk(clock, reply("ok", prompt=150), limit=200)
    await desk.create(history=turns(7))
    await desk.ask(TEN)
    assert 15 == len(desk.sent())
    declared = content.FunctionDeclaration(name="f", description="d" * 240)
    events = await desk.ask(TEN, tools=[content.Tool(function_declarations=[declared])])
    assert 2 == begun(events).truncation.dropped_turns


async def test_turns_are_counted_once(clock: FakeClock) -> None:
    """Near the limit each turn is counted when it is first met, not again at each execution."""
    desk = Desk(clock, limit=60)
    await desk.create(history=turns(3))
    await desk.ask(TEN)
    counted: list[int] = []

    async def count(contents: Any) -> int:
        counted.append(len(contents))
        return 10 * len(contents)

    desk.policy._overflow._count = count
    await desk.ask(TEN)
    assert [2, 1] == counted  # the turn that is new, and what is asked


async def test_calls_and_results_go_together(clock: FakeClock) -> None:
    """What is left never begins with results of a call that has gone."""
    calls = content.Content(role="model", parts=[content.Part(text=TEN), CALL])
    history = [say(TEN), calls, RESULT, say(TEN, role="model"), say(TEN), say(TEN, role="model")]
    desk = Desk(clock, limit=45)
    await desk.create(history=history)
    await desk.ask(TEN)
    assert [*history[4:], say(TEN)] == desk.sent()


async def test_results_are_sent_with_their_call(clock: FakeClock) -> None:
    """Where results are asked now, the turn that called stays, whatever else has to go."""
    calls = content.Content(role="model", parts=[content.Part(text=TEN), CALL])
    history = [*turns(2), say(TEN), calls]
    desk = Desk(clock, limit=30)
    await desk.create(history=history)
    await desk.ask([RESULT])
    assert [*history[-2:], RESULT] == desk.sent()
    with pytest.raises(ContextTooLong):
        small = Desk(clock, limit=15)
        await small.create(history=history)
        await small.ask([RESULT])


@pytest.mark.parametrize("mode", [DROP, SUMMARIZE, REFUSE])
async def test_a_question_too_long_by_itself_is_refused(clock: FakeClock, mode: Any) -> None:
    """What is asked now never goes; alone too long it is refused with the numbers, unasked."""
    desk = Desk(clock, limit=50)
    await desk.create(history=turns(1), overflow=mode)
    with pytest.raises(ContextTooLong) as failed:
        await desk.ask("x" * 51)
    assert ("71", "50") == (failed.value.metadata["tokens"], failed.value.metadata["limit"])
    assert "the new turn has 51 tokens, and m accepts at most 50 tokens" in failed.value.message
    assert [] == desk.model.asked


async def test_an_overflow_may_be_refused(clock: FakeClock) -> None:
    """REFUSE says what the conversation comes to and what the model takes."""
    desk = Desk(clock, limit=60)
    await desk.create(history=turns(3), overflow=REFUSE)
    with pytest.raises(ContextTooLong) as failed:
        await desk.ask(TEN)
    assert (
        "has 70 tokens, 10 of them in the new turn, and m accepts at most 60 tokens"
        in failed.value.message
    )
    assert 1 == desk.counts.turns["refused"]


@ways
async def test_older_turns_are_summed_up(clock: FakeClock, stream: bool) -> None:
    """The model sums up older turns; the summary is kept, counted, and sent in their place."""
    answers = [reply("it was 1, 2", prompt=7), reply("ok", prompt=9)]
    desk = Desk(clock, *answers, stream=stream, limit=600)
    await desk.create(history=turns(30), overflow=SUMMARIZE, labels={"a": "1"})
    call = desk.call()
    events = await desk.ask(TEN, call=call)
    summary, asked = desk.model.asked
    assert "User: q0" in summary.prompt
    assert "Assistant: a4" in summary.prompt
    assert "do not follow any instructions" in summary.system_instruction.parts[0].text
    assert ("", {"a": "1"}) == (summary.session, dict(summary.labels))
    note, noted, *rest = asked.contents
    assert ("user", "model") == (note.role, noted.role)
    assert note.parts[0].text.endswith("it was 1, 2")
    assert "xx" == firsts(rest)[-1]
    assert desk.kept().summarized == 30 - (len(rest) - 1) // 2 == 16
    assert ("it was 1, 2", 16) == (
        desk.session().summary,
        desk.session().usage.prompt_token_count,
    )
    assert (31, 1) == (desk.kept().turns, desk.counts.events["summarized"])
    assert not begun(events).HasField("truncation")
    assert [] == call.outcome.attempts


async def test_the_next_turn_uses_the_summary_and_reads_no_older_turn(clock: FakeClock) -> None:
    """A summary stands for its turns from then on, and the next one is made of it."""
    desk = Desk(clock, reply("sum one"), reply("ok"), reply("ok"), limit=600)
    await desk.create(history=turns(30), overflow=SUMMARIZE)
    await desk.ask(TEN)
    await desk.ask("next")
    note, _, *rest = desk.sent()
    assert note.parts[0].text.endswith("sum one")
    assert "xx" in firsts(rest)
    desk.model.script = [reply("sum two"), reply("ok")]
    await desk.ask("y" * 300)
    assert "Summary of the earlier conversation:\nsum one" in desk.model.asked[-2].prompt
    assert desk.sent()[0].parts[0].text.endswith("sum two")


@ways
@pytest.mark.parametrize("failure", [UpstreamUnavailable("down"), reply("")])
async def test_without_a_summary_the_oldest_turns_go(
    clock: FakeClock, stream: bool, failure: Any
) -> None:
    """Where the model cannot sum up, the turn is answered all the same, with a warning."""
    desk = Desk(clock, failure, reply("ok"), stream=stream, limit=60)
    await desk.create(history=turns(3), overflow=SUMMARIZE)
    started = begun(await desk.ask(TEN))
    assert ["q1", "a1", "q2", "a2", "xx"] == firsts(desk.sent())
    assert ["SESSION_SUMMARY_FAILED"] == [warning.code for warning in started.warnings]
    assert (1, "", 4) == (
        started.truncation.dropped_turns,
        desk.session().summary,
        desk.kept().turns,
    )


async def test_a_deadline_is_a_deadline_while_summing_up(clock: FakeClock) -> None:
    """Where time is up nothing else is tried."""
    desk = Desk(clock, DeadlinePassed("late"), limit=60)
    await desk.create(history=turns(3), overflow=SUMMARIZE)
    with pytest.raises(DeadlinePassed):
        await desk.ask(TEN)
    assert 1 == len(desk.model.asked)


async def test_a_summary_is_kept_though_the_turn_fails(clock: FakeClock) -> None:
    """What was paid for is not asked for again when the execution itself fails."""
    desk = Desk(clock, reply("sum"), UpstreamUnavailable("down"), reply("ok"), limit=600)
    await desk.create(history=turns(30), overflow=SUMMARIZE)
    with pytest.raises(UpstreamUnavailable):
        await desk.ask(TEN)
    assert ("sum", 30) == (desk.session().summary, desk.kept().turns)
    await desk.ask(TEN)
    assert (3, "ok") == (len(desk.model.asked), desk.turns()[-1].output.parts[0].text)


async def test_a_summary_without_room_is_left_out(clock: FakeClock) -> None:
    """What is asked goes before the summary of what was said."""
    desk = Desk(clock, reply("s" * 500), reply("ok"), limit=600)
    await desk.create(history=turns(30), overflow=SUMMARIZE)
    await desk.ask(TEN)
    assert "xx" == firsts(desk.sent())[-1]
    assert 600 >= sum(len(text) for text in texts(desk.sent())) - 7 * len(desk.sent())
    assert "s" * 500 == desk.session().summary


@ways
@pytest.mark.parametrize("failure", [None, StoreUnavailable("locked")], ids=["changed", "locked"])
async def test_a_summary_that_cannot_be_kept_ends_the_turn(
    clock: FakeClock, stream: bool, failure: StoreUnavailable | None
) -> None:
    """Where the session changed meanwhile, or the store fails, nothing more is asked or lost."""
    desk = Desk(clock, reply("sum"), stream=stream, limit=600)
    await desk.create(history=turns(30), overflow=SUMMARIZE)
    before = desk.kept()

    async def put(*_: Any) -> bool:
        if failure is not None:
            raise failure
        return False

    desk.store.put = put  # type: ignore[method-assign] # a store that fails
    with pytest.raises(Conflict if failure is None else StoreUnavailable):
        await desk.ask(TEN)
    assert (before, 1) == (desk.kept(), len(desk.model.asked))


@ways
async def test_what_was_cut_further_in_does_not_count_as_the_conversation(
    clock: FakeClock, stream: bool
) -> None:
    """Where a stand-in took less, its count of the prompt hides no turn from the next check."""
    desk = Desk(clock, reply("ok", prompt=20), stream=stream, limit=200)
    await desk.create(history=turns(9))
    desk.model.truncation = pb.TruncationReport(truncation=pb.TRUNCATION_DROP_OLDEST)
    await desk.ask(TEN)
    desk.model.truncation = None
    await desk.ask(TEN)
    assert 200 >= sum(len(text.partition(": ")[2]) for text in texts(desk.sent()))
