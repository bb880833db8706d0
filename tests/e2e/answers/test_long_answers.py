"""Answers in hops, on the real server in front of the simulator: one execution each."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

import aiohttp
import grpc
import pytest
import pytest_asyncio

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import session_service_pb2_grpc as session_rpc
from gemini.backend.v1.content_pb2 import (
    FINISH_REASON_CONTINUATION,
    FINISH_REASON_MAX_TOKENS,
    FINISH_REASON_STOP,
    USAGE_QUALITY_ESTIMATED,
    USAGE_QUALITY_EXACT,
    GenerationConfig,
    ThinkingConfig,
)
from tests.support.layers.inproc import collect
from tests.support.messages.failures import broken_off, failure_of
from tests.support.servers.conversations import create, exported
from tests.support.servers.judged_executions import read_into
from tests.support.servers.process import run_backend
from tests.support.servers.simulator_stack import stack, text_of
from tests.support.upstreams.raw_upstreams import stats_of, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.servers.simulator_stack import Stack

pytestmark = pytest.mark.asyncio(loop_scope="module")
ARGON = "models/gemini-4-argon"
HOP = 40
COLD = GenerationConfig(
    temperature=0, thinking_config=ThinkingConfig(thinking_level="THINKING_LEVEL_LOW")
)
KEEP = pb.OnDisconnect(mode=pb.DISCONNECT_MODE_KEEP)
WORDS = "one two three four five six seven eight nine ten "


def told(name: str, times: int = 12) -> str:
    """Return a text like no other, of about 13 tokens a time: 4 hops, the first of thoughts."""
    return f"{name} begins. " + WORDS * times + f"{name} ends."


def request(text: str, fault: str = "", **fields: Any) -> pb.ExecuteRequest:
    """Return a request to which the simulator says exactly this text, in hops."""
    prompt = f"[[say: {text}]]" + (f" [[fault: {fault}]]" if fault else "")
    fields = {"model": ARGON, "generation_config": COLD, **fields}
    return pb.ExecuteRequest(prompt=prompt, **fields)


def process(text: str, fault: str = "", **fields: Any) -> pb.ProcessRequest:
    """Return the same request for a whole answer."""
    return pb.ProcessRequest.FromString(request(text, fault, **fields).SerializeToString())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def desk() -> AsyncIterator[Stack]:
    """A server in front of a simulator whose hops hold 40 tokens."""
    settings = {"BREAKER__ENABLED": "false", "RETRY__INITIAL_DELAY_MS": "10"}
    async with stack("--hop-tokens", str(HOP), "--chunk-delay", "0.005", **settings) as one:
        yield one


async def test_a_stream_is_one_answer(desk: Stack) -> None:
    """Execute: one start, the whole text, one end; usage and price are those of all requests."""
    text = told("streamed")
    before = await desk.generated()
    events = await collect(desk.stub.Execute(request(text)))
    asked = await desk.generated() - before
    done = events[-1].completed
    assert text == text_of(events)
    assert (FINISH_REASON_STOP, asked - 1, USAGE_QUALITY_EXACT) == (
        done.finish_reason,
        done.continuations,
        done.usage.quality,
    )
    assert asked > 3
    names = [event.WhichOneof("event") for event in events]
    assert ("started", "completed", 1) == (names[0], names[-1], names.count("started"))
    assert list(range(1, len(events) + 1)) == [event.sequence for event in events]
    numbers = [event.delta.upstream_event for event in events if event.HasField("delta")]
    assert sorted(set(numbers)) == numbers
    assert asked == len(done.attempts)
    assert done.cost.cost_nano_usd == (
        done.cost.input_nano_usd + done.cost.output_nano_usd + done.cost.thoughts_nano_usd
    )
    counts = [e.delta.usage.total_token_count for e in events if e.delta.HasField("usage")]
    assert counts == sorted(counts)
    assert done.usage.total_token_count >= counts[-1]


async def test_a_whole_answer_is_one_answer(desk: Stack) -> None:
    """Process: the whole text in one candidate, every attempt, one price."""
    text = told("whole")
    answer = await desk.stub.Process(process(text))
    (candidate,) = answer.candidates
    said = "".join(part.text for part in candidate.content.parts)
    assert (text, FINISH_REASON_STOP) == (said, candidate.finish_reason)
    assert answer.continuations > 2
    assert len(answer.attempts) == answer.continuations + 1
    assert answer.cost.cost_nano_usd > 0


async def test_items_of_a_batch_are_whole(desk: Stack) -> None:
    """BatchExecute: each item is followed to its end, by itself."""
    texts = [told(f"item{number}", 4 + number) for number in range(4)]
    batch = pb.BatchExecuteRequest(items=[request(text) for text in texts])
    results = await collect(desk.stub.BatchExecute(batch))
    said = {
        result.index: "".join(p.text for p in result.response.candidates[0].content.parts)
        for result in results
    }
    assert dict(enumerate(texts)) == said
    assert all(result.response.continuations for result in results)


async def test_a_session_keeps_the_whole_answer(desk: Stack) -> None:
    """A turn is the whole answer, and the next turn is asked with it."""
    async with grpc.aio.insecure_channel(desk.server.grpc) as channel:
        sessions: Any = session_rpc.SessionServiceStub(channel)
        name = await create(sessions, model=ARGON)
        text = told("turn")
        await collect(desk.stub.Execute(request(text, session=name)))
        more = told("more", 4)
        await desk.stub.Process(process(more, session=name))
        turns = await exported(sessions, name)
    said = ["".join(part.text for part in turn.output.parts) for turn in turns]
    assert [text, more] == said


async def test_a_long_answer_is_kept_as_one(desk: Stack) -> None:
    """Out of the cache it comes whole, to streams and to whole answers, and says what it saved."""
    text = told("again")
    first = await collect(desk.stub.Execute(request(text)))
    before = await desk.generated()
    events = await collect(desk.stub.Execute(request(text)))
    answer = await desk.stub.Process(process(text))
    assert (text, pb.CACHE_STATUS_HIT) == (text_of(events), events[0].started.cache_status)
    assert text == "".join(part.text for part in answer.candidates[0].content.parts)
    assert before == await desk.generated()
    done = first[-1].completed
    assert done.continuations == events[-1].completed.continuations == answer.continuations
    assert done.cost.cost_nano_usd == events[-1].completed.cost.saved_nano_usd


async def test_max_output_tokens_spans_all_hops(desk: Stack) -> None:
    """No more than that many tokens, thoughts counted, come in all; it ends as MAX_TOKENS."""
    config = GenerationConfig()
    config.CopyFrom(COLD)
    config.max_output_tokens = 100
    events = await collect(desk.stub.Execute(request(told("limited"), generation_config=config)))
    done = events[-1].completed
    used = done.usage.candidates_token_count + done.usage.thoughts_token_count
    assert (FINISH_REASON_MAX_TOKENS, 100) == (done.finish_reason, used)
    assert done.continuations > 0
    assert told("limited").startswith(text_of(events))


async def test_manual_hands_the_token_on(desk: Stack) -> None:
    """With MANUAL each hop is an answer; with its token the rest comes, by AUTO in one."""
    text = told("manual")
    manual = pb.CONTINUATION_MODE_MANUAL
    first = await collect(desk.stub.Execute(request(text, continuation_mode=manual)))
    done = first[-1].completed
    assert FINISH_REASON_CONTINUATION == done.finish_reason
    token = done.continuation_token
    second = await desk.stub.Process(
        process(text, continuation_mode=manual, continuation_token=token)
    )
    (hop,) = second.candidates
    rest = await collect(
        desk.stub.Execute(request(text, continuation_token=hop.continuation_token))
    )
    said = text_of(first) + "".join(part.text for part in hop.content.parts) + text_of(rest)
    assert (text, FINISH_REASON_STOP) == (said, rest[-1].completed.finish_reason)


async def test_a_token_of_something_else_is_refused(desk: Stack) -> None:
    """Gemini refuses a token of another request; that is told, and tried once."""
    manual = pb.CONTINUATION_MODE_MANUAL
    first = await collect(desk.stub.Execute(request(told("x"), continuation_mode=manual)))
    token = first[-1].completed.continuation_token
    failed = await failure_of(desk.stub.Process(process(told("y"), continuation_token=token)))
    assert "CALLER_REFUSED_BY_MODEL_API" == failed.reason
    assert (1, token) == (len(failed.execution.attempts), failed.execution.continuation_token)


@pytest.mark.parametrize("fault", ["overloaded hop=3", "cut after=0 hop=2", "reset hop=2"])
async def test_a_hop_that_fails_for_good_leaves_the_token(desk: Stack, fault: str) -> None:
    """After its own tries a later hop ends the answer; with the token the rest can be had."""
    text = told(f"fails {fault}")
    received, failed = await broken_off(desk.stub.Execute(request(text, fault)))
    assert text.startswith(text_of(received))
    assert 6 + int(fault[-1]) - 1 == len(failed.execution.attempts)
    assert USAGE_QUALITY_ESTIMATED == failed.execution.usage.quality
    token = failed.execution.continuation_token
    # the fault is part of the prompt: the rest comes up to where it strikes again
    again = await failure_of(desk.stub.Process(process(text, fault, continuation_token=token)))
    assert token == again.execution.continuation_token


async def test_a_hop_that_is_cut_is_not_asked_for_again(desk: Stack) -> None:
    """Text of a cut hop was delivered: one attempt, the token before it, and a way to tell it."""
    text = told("cut")
    received, failed = await broken_off(desk.stub.Execute(request(text, "cut after=2 hop=3")))
    assert "UPSTREAM_STREAM_CUT" == failed.reason
    assert 3 == len(failed.execution.attempts)
    after = int(failed.metadata["continuation_after_event"])
    whole = [event for event in received if event.delta.upstream_event <= after]
    assert len(text_of(whole)) < len(text_of(received))
    assert text.startswith(text_of(received))


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("hop_no_token hop=2", "CONTINUATION_NOT_FOLLOWED"),
        ("hop_huge_token hop=2", "CONTINUATION_NOT_FOLLOWED"),
    ],
)
async def test_what_cannot_be_followed_is_said(desk: Stack, fault: str, code: str) -> None:
    """The answer so far comes, ends with CONTINUATION, and warns; it is not kept."""
    text = told(f"ends {fault}")
    for _ in range(2):
        before = await desk.generated()
        events = await collect(desk.stub.Execute(request(text, fault)))
        done = events[-1].completed
        assert (FINISH_REASON_CONTINUATION, [code]) == (
            done.finish_reason,
            [warning.code for warning in done.warnings],
        )
        assert text.startswith(text_of(events))
        assert 2 == await desk.generated() - before


async def test_a_token_after_stop_is_ignored(desk: Stack) -> None:
    """The answer is whole, with a warning."""
    text = told("after stop")
    answer = await desk.stub.Process(process(text, "hop_after_stop"))
    assert text == "".join(part.text for part in answer.candidates[0].content.parts)
    assert "CONTINUATION_TOKEN_IGNORED" in [one.code for one in answer.started.warnings]


@pytest.mark.parametrize(
    ("fault", "how"), [("hop_same_token", "token_repeated"), ("hop_empty", "empty_hops")]
)
async def test_chains_that_do_not_come_on_are_ended(desk: Stack, fault: str, how: str) -> None:
    """The same token again, and empty hops, end typed after a few requests."""
    before = await desk.generated()
    failed = await failure_of(desk.stub.Process(process(told(f"loop {how}"), fault)))
    assert ("UPSTREAM_STREAM_CUT", how) == (failed.reason, failed.metadata["continuation"])
    assert await desk.generated() - before <= 5


async def test_an_endless_chain_is_bounded(desk: Stack) -> None:
    """After 32 continuations the answer ends with the token to go on with."""
    events = await collect(desk.stub.Execute(request(told("endless"), "hop_endless")))
    done = events[-1].completed
    assert (32, FINISH_REASON_CONTINUATION) == (done.continuations, done.finish_reason)
    assert done.continuation_token
    assert ["CONTINUATION_LIMIT"] == [warning.code for warning in done.warnings]


async def test_two_candidates_are_handed_on(desk: Stack) -> None:
    """Each has its own token, and a warning says that nobody followed them."""
    config = GenerationConfig(candidate_count=2)
    neon = "models/gemini-4-neon"
    answer = await desk.stub.Process(process(told("two"), generation_config=config, model=neon))
    assert all(one.continuation_token for one in answer.candidates)
    ends = [one.finish_reason for one in answer.candidates]
    assert [FINISH_REASON_CONTINUATION] * 2 == ends
    assert ["CONTINUATION_NOT_FOLLOWED"] == [one.code for one in answer.started.warnings]


async def test_kept_and_resumed_over_hops(desk: Stack) -> None:
    """With KEEP a lost stream goes on over hops, and is resumed without a gap."""
    text = told("kept", 20)
    asked = request(text, "chunk_delay seconds=0.05", on_disconnect=KEEP)
    stream = desk.stub.Execute(asked)
    first = [await stream.read() for _ in range(4)]
    stream.cancel()
    resume = pb.Resume(execution=first[0].execution, after_sequence=first[-1].sequence)
    rest = await collect(desk.stub.Execute(pb.ExecuteRequest(resume=resume)))
    events = [*first, *rest]
    assert (text, list(range(1, len(events) + 1))) == (
        text_of(events),
        [event.sequence for event in events],
    )
    assert events[-1].completed.continuations > 3


async def test_who_leaves_ends_the_chain(desk: Stack) -> None:
    """A caller that cancels in mid-answer has no further hop asked for."""
    text = told("leaves", 20)
    stream = desk.stub.Execute(request(text, "chunk_delay seconds=0.1"))
    for _ in range(4):
        await stream.read()
    stream.cancel()
    await until(lambda: stats_of(desk.simulator), lambda now: now["streams_open"] == 0)
    before = await desk.generated()
    await asyncio.sleep(0.5)
    assert before == await desk.generated()


async def test_metrics_count_further_requests(desk: Stack) -> None:
    """Prometheus' text has how many continuations there were, and which ended early."""
    await collect(desk.stub.Execute(request(told("metrics"))))
    text = await _page(f"{desk.server.web}/metrics")
    (count,) = re.findall(r"^gemini_backend_continuations_total (\d+)", text, re.MULTILINE)
    assert int(count) >= 3


async def test_the_command_prints_a_long_answer_whole(desk: Stack) -> None:
    """`call` prints the text of all hops on stdout, and how many there were on stderr."""
    text = told("command")
    words = ("call", f"[[say: {text}]]", "--model", "gemini-4-argon", "--target")
    done = await run_backend(*words, desk.server.grpc)
    assert (0, text + "\n") == (done.code, done.stdout)
    assert re.search(r"\| \d+ continuations", done.stderr)


async def _page(url: str) -> str:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return await answer.text()


async def test_a_simulator_killed_between_hops() -> None:
    """An upstream that dies in a later hop ends the answer typed, with the token to go on."""
    async with stack("--hop-tokens", "40", "--chunk-delay", "0.1") as one:
        text = told("killed", 20)
        received: list[Any] = []
        reading = asyncio.ensure_future(
            failure_of(read_into(received, one.stub.Execute(request(text))))
        )
        await until(one.generated, lambda count: count >= 3)
        one.simulator.process.kill()
        failed = await asyncio.wait_for(reading, 20)
        assert failed.reason in {"UPSTREAM_STREAM_CUT", "UPSTREAM_UNREACHABLE"}
        assert failed.execution.continuation_token
        assert text.startswith(text_of(received))
        assert failed.execution.deltas_delivered == len(received) - 1
