"""Tokens on the real server: who counts them, and what is done about too many."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import pytest_asyncio

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import session_service_pb2 as sessions
from gemini.backend.v1.content_pb2 import Content, FunctionDeclaration, Part, Tool
from tests.support.messages.failures import failure_of
from tests.support.messages.tokenizers import vocabulary_file
from tests.support.servers.conversations import Answerer, Desk, answering, create, said
from tests.support.servers.process import AS_IT_COMES, serving, upstream_at
from tests.support.upstreams.raw_upstreams import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.asyncio(loop_scope="module")
EXACT, ESTIMATED = pb.TOKEN_COUNT_METHOD_EXACT, pb.TOKEN_COUNT_METHOD_ESTIMATED
OFFLINE, UPSTREAM = pb.TOKEN_COUNTING_OFFLINE, pb.TOKEN_COUNTING_UPSTREAM
DROP, MIDDLE = pb.TRUNCATION_DROP_OLDEST, pb.TRUNCATION_MIDDLE_OUT
SMALL, LARGE = "models/gemini-2.5-small", "models/gemini-2.5-large"
LIMIT = 200
LONG = "The quick brown fox jumps over the lazy dog. " * 100  # 1,001 tokens
OPTIONS = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
whole = pytest.mark.parametrize("whole", [True, False], ids=["whole", "stream"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place() -> AsyncIterator[tuple[Answerer, Desk]]:
    """A server that counts, in front of models with known limits."""
    async with answering() as model:
        model.models = [
            {"name": SMALL, "inputTokenLimit": LIMIT, "outputTokenLimit": 100},
            {"name": LARGE, "inputTokenLimit": 100_000, "outputTokenLimit": 100},
        ]
        settings = {
            "GEMINI_BACKEND_TOKENS__VOCABULARY_FILE": str(vocabulary_file()),
            "GEMINI_BACKEND_EXECUTION__DEFAULT_MODEL": SMALL,
        }
        async with (
            serving(upstream_at(model.url, **AS_IT_COMES, **settings)) as server,
            grpc.aio.insecure_channel(server.grpc, OPTIONS) as channel,
        ):
            yield model, Desk(channel, server, server)


def talk(*texts: str) -> list[Content]:
    """Return turns, the user's and the model's in turn."""
    roles = ("user", "model")
    return [
        Content(role=roles[place % 2], parts=[Part(text=text)]) for place, text in enumerate(texts)
    ]


def report(events: list[Any]) -> pb.TruncationReport:
    """Return what `started` says of truncation."""
    started: pb.Started = events[0].started
    return started.truncation


def texts(asked: dict[str, Any]) -> list[str]:
    """Return what the model API was asked."""
    return [part["text"] for turn in asked["contents"] for part in turn["parts"]]


async def test_offline_counts_are_exact_or_say_that_they_are_not(
    place: tuple[Answerer, Desk],
) -> None:
    """Texts are counted exactly without asking the model API; tools make it an estimate."""
    model, desk = place
    asked = len(model.asked)
    request = pb.CountTokensRequest(
        prompt="The quick brown fox jumps over the lazydog.", counting=OFFLINE
    )
    counted = await desk.execute.CountTokens(request)
    assert (12, EXACT, SMALL) == (counted.total_tokens, counted.method, counted.model)
    request.tools.append(Tool(function_declarations=[FunctionDeclaration(name="f")]))
    counted = await desk.execute.CountTokens(request)
    assert ESTIMATED == counted.method
    assert 12 < counted.total_tokens
    assert asked == len(model.asked)


async def test_a_session_is_counted_with_the_new_turn(place: tuple[Answerer, Desk]) -> None:
    """What was said before, and what stands in the request; somebody else's is not found."""
    model, desk = place
    name = await create(desk.sessions, "counted")
    await said(desk.execute, pb.ExecuteRequest(prompt="hello", session=name), whole=True)
    request = pb.CountTokensRequest(prompt="hello", session=name, counting=OFFLINE)
    counted = await desk.execute.CountTokens(request)
    assert (2 + 2 + 2, EXACT) == (counted.total_tokens, counted.method)  # hello, ok, hello
    request.session = "sessions/none"
    failed = await failure_of(desk.execute.CountTokens(request))
    assert "CALLER_UNKNOWN_RESOURCE" == failed.reason
    model.candidates.clear()


async def test_while_the_model_api_is_down_the_server_counts(
    place: tuple[Answerer, Desk],
) -> None:
    """By default it stands in and says so; asked to count upstream, the call fails."""
    model, desk = place
    model.down.add(LARGE)
    try:
        request = pb.CountTokensRequest(prompt="hello", model=LARGE)
        counted = await desk.execute.CountTokens(request)
        assert (2, EXACT) == (counted.total_tokens, counted.method)
        request.counting = UPSTREAM
        failed = await failure_of(desk.execute.CountTokens(request))
        assert "UPSTREAM_UNAVAILABLE" == failed.reason
    finally:
        model.down.clear()


@whole
async def test_too_long_is_refused_before_it_is_sent(
    place: tuple[Answerer, Desk], whole: bool
) -> None:
    """The caller gets the numbers, the model API gets nothing."""
    model, desk = place
    asked = len(model.asked)
    failed = await failure_of(said(desk.execute, pb.ExecuteRequest(prompt=LONG), whole=whole))
    assert "CALLER_CONTEXT_TOO_LONG" == failed.reason
    assert "has 1002 tokens, and gemini-2.5-small accepts at most 200" in failed.message
    assert asked == len(model.asked)


@whole
async def test_oldest_turns_are_dropped(place: tuple[Answerer, Desk], whole: bool) -> None:
    """The newest turns arrive, and `started` says what did not."""
    model, desk = place
    request = pb.ExecuteRequest(contents=talk(LONG, "Yes.", "And then?"), truncation=DROP)
    done = report(await said(desk.execute, request, whole=whole))
    assert ["And then?"] == texts(model.asked[-1])
    assert (DROP, 2) == (done.truncation, done.dropped_turns)
    assert 1000 < done.original_tokens
    assert 4 == done.remaining_tokens


@whole
async def test_middles_are_cut_out(place: tuple[Answerer, Desk], whole: bool) -> None:
    """What arrives fits, has both ends, and says how much is left out."""
    model, desk = place
    request = pb.ExecuteRequest(contents=talk("Hi.", "Hello.", LONG), truncation=MIDDLE)
    done = report(await said(desk.execute, request, whole=whole))
    first, second, cut = texts(model.asked[-1])
    assert ("Hi.", "Hello.") == (first, second)
    assert LONG[:200] == cut[:200]
    assert LONG[-200:] == cut[-200:]
    assert "characters left out …]" in cut
    assert LIMIT - 40 < done.remaining_tokens <= LIMIT


@whole
async def test_a_last_turn_too_long_by_itself_is_refused(
    place: tuple[Answerer, Desk], whole: bool
) -> None:
    """It never goes, so nothing is sent."""
    model, desk = place
    asked = len(model.asked)
    request = pb.ExecuteRequest(contents=talk("Hi.", "Hello.", LONG), truncation=DROP)
    failed = await failure_of(said(desk.execute, request, whole=whole))
    assert "CALLER_CONTEXT_TOO_LONG" == failed.reason
    assert "the last turn alone is too long" in failed.message
    assert asked == len(model.asked)


@whole
async def test_a_larger_model_takes_it(place: tuple[Answerer, Desk], whole: bool) -> None:
    """With the condition CONTEXT_TOO_LONG the model that was asked for is never sent anything."""
    model, desk = place
    asked = len(model.paths)
    request = pb.ExecuteRequest(prompt=LONG)
    request.fallback.models.append(LARGE)
    request.fallback.conditions.append(pb.FALLBACK_CONDITION_CONTEXT_TOO_LONG)
    await said(desk.execute, request, whole=whole)
    assert [LARGE] == [path.partition(":")[0] for path in model.paths[asked:]]


@whole
async def test_sessions_count_alike(place: tuple[Answerer, Desk], whole: bool) -> None:
    """A session drops its oldest turns by the same counts; a turn that is cut is cut there too."""
    model, desk = place
    name = await create(desk.sessions, overflow=sessions.SESSION_OVERFLOW_DROP_OLDEST)
    once = "The quick brown fox jumps over the lazy dog. " * 8
    for _ in range(3):
        asked = pb.ExecuteRequest(prompt=once, session=name)
        events = await said(desk.execute, asked, whole=whole)
    assert [once, "ok", once] == texts(model.asked[-1])
    assert (1, 3 * 82 + 2 * 2) == (report(events).dropped_turns, report(events).original_tokens)
    short = await create(desk.sessions, overflow=sessions.SESSION_OVERFLOW_REFUSE)
    await said(desk.execute, pb.ExecuteRequest(prompt="Hi.", session=short), whole=whole)
    asked = pb.ExecuteRequest(prompt=LONG, session=short, truncation=MIDDLE)
    await said(desk.execute, asked, whole=whole)
    assert "characters left out …]" in texts(model.asked[-1])[-1]
    assert LONG == (await desk.turns(short))[-1].inputs[0].parts[0].text


async def test_five_megabytes_hold_up_nobody(place: tuple[Answerer, Desk]) -> None:
    """While a prompt of 5 MB is counted and refused, other calls are answered at once."""
    _, desk = place
    huge = "".join(f"{number} bottles of beer\n" for number in range(230_000))
    assert 5_000_000 < len(huge)
    waiting = asyncio.ensure_future(
        failure_of(said(desk.execute, pb.ExecuteRequest(prompt=huge), whole=True))
    )
    await asyncio.sleep(0.2)
    slowest = 0.0
    while not waiting.done():
        begun = time.perf_counter()
        await said(desk.execute, pb.ExecuteRequest(prompt="Hi."), whole=True)
        slowest = max(slowest, time.perf_counter() - begun)
    assert "CALLER_CONTEXT_TOO_LONG" == (await waiting).reason
    assert 0.5 > slowest


async def test_without_a_vocabulary_it_estimates(tmp_path: Any) -> None:
    """CountTokens says so, long requests are left to the model API, and nothing else is lost."""
    async with answering() as model:
        model.models = [{"name": SMALL, "inputTokenLimit": LIMIT}]
        settings = {"GEMINI_BACKEND_TOKENS__VOCABULARY_FILE": str(tmp_path / "none.json")}
        async with (
            serving(upstream_at(model.url, **AS_IT_COMES, **settings)) as server,
            grpc.aio.insecure_channel(server.grpc) as channel,
        ):
            desk = Desk(channel, server, server)
            request = pb.CountTokensRequest(prompt="hello", model=SMALL, counting=OFFLINE)
            counted = await desk.execute.CountTokens(request)
            assert (3, ESTIMATED) == (counted.total_tokens, counted.method)
            await said(desk.execute, pb.ExecuteRequest(prompt=LONG, model=SMALL), whole=True)
            assert LONG == texts(model.asked[-1])[0]
            asked = pb.ExecuteRequest(prompt=LONG, model=SMALL, truncation=MIDDLE)
            done = report(await said(desk.execute, asked, whole=True))
            assert done.remaining_tokens <= LIMIT

            async def logged() -> int:
                return server.log().count("tokens are estimated")

            assert 1 == await until(logged, bool)
