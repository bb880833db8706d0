"""Who counts: the model API, or this server."""

from __future__ import annotations

from asyncio import get_running_loop
from typing import TYPE_CHECKING, Any

import pytest

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.api.token_count import TokenCount
from gemini_backend.config.sections.sessions import SessionsOptions
from gemini_backend.config.sections.tokens import TokensOptions
from gemini_backend.errors import (
    DailyQuotaExhausted,
    DeadlinePassed,
    KeyRefused,
    Throttled,
    UnknownResource,
    Unreachable,
    UpstreamUnavailable,
)
from gemini_backend.principal import Principal
from gemini_backend.stores.session_service import SessionContext
from tests.support.clock import settle
from tests.support.layers.session_layer import Desk, reply, say, texts
from tests.support.layers.session_store import DictSessions
from tests.support.messages.calls import make_call
from tests.support.messages.tokenizers import Characters, counter_of

if TYPE_CHECKING:
    import asyncio

    from gemini_backend.errors import ServiceError
    from tests.support.clock import FakeClock

BY_UPSTREAM, EXACT = pb.TOKEN_COUNT_METHOD_UPSTREAM, pb.TOKEN_COUNT_METHOD_EXACT
UPSTREAM = pb.TOKEN_COUNTING_UPSTREAM
PREFER, OFFLINE = pb.TOKEN_COUNTING_PREFER_UPSTREAM, pb.TOKEN_COUNTING_OFFLINE
MODEL = "models/gemini-2.5-flash"


class Api:
    """A model API that counts, fails, or takes its time."""

    def __init__(
        self, clock: FakeClock, fails: ServiceError | None = None, takes: float = 0.0
    ) -> None:
        self.clock = clock
        self.fails = fails
        self.takes = takes
        self.asked: list[pb.CountTokensRequest] = []

    async def ask(self, _call: Any, request: pb.CountTokensRequest) -> pb.CountTokensResponse:
        self.asked.append(request)
        if self.takes:
            await self.clock.sleep(self.takes)
        if self.fails is not None:
            raise self.fails
        return pb.CountTokensResponse(total_tokens=7, method=BY_UPSTREAM)

    async def count(self, who: int = 0, deadline: float | None = None, **options: Any) -> Any:
        """Ask how many tokens there are, in the caller's way."""
        made = TokensOptions(**options)
        context = SessionContext(DictSessions(), SessionsOptions, lambda: 0.0)
        policy = TokenCount(lambda: made, self.ask, counter_of(Characters()), context, self.clock)
        request = pb.CountTokensRequest(model=MODEL, prompt="hello", counting=who)  # type: ignore[arg-type] # by number
        return await policy.answer(make_call(self.clock, deadline=deadline), request)


@pytest.mark.parametrize(
    ("configured", "asked", "method", "times"),
    [
        ("prefer_upstream", 0, BY_UPSTREAM, 1),
        ("upstream", 0, BY_UPSTREAM, 1),
        ("offline", 0, EXACT, 0),
        ("offline", UPSTREAM, BY_UPSTREAM, 1),
        ("offline", PREFER, BY_UPSTREAM, 1),
        ("upstream", OFFLINE, EXACT, 0),
    ],
)
async def test_the_request_decides_then_the_configuration(
    clock: FakeClock, configured: Any, asked: int, method: int, times: int
) -> None:
    """Whoever is to count does, and the answer says so; Gemini is not told of our choice."""
    api = Api(clock)
    assert method == (await api.count(asked, counting=configured)).method
    assert times == len(api.asked)
    assert all(not request.counting for request in api.asked)


@pytest.mark.parametrize(
    "failure", [Unreachable, UpstreamUnavailable, Throttled, DailyQuotaExhausted]
)
async def test_the_server_stands_in_where_the_model_api_is_away(
    clock: FakeClock, failure: type[ServiceError]
) -> None:
    """It counts instead of failing, unless the model API's own count was asked for."""
    api = Api(clock, failure("away"))
    counted = await api.count(PREFER)
    assert (6, EXACT) == (counted.total_tokens, counted.method)
    with pytest.raises(failure):
        await api.count(UPSTREAM)


async def test_what_somebody_has_to_mend_is_told(clock: FakeClock) -> None:
    """A refused key is no reason to count here: it would go unnoticed."""
    with pytest.raises(KeyRefused):
        await Api(clock, KeyRefused("no")).count(PREFER)


async def test_a_slow_model_api_is_not_waited_for(clock: FakeClock) -> None:
    """After `upstream_timeout_seconds` the server counts; it too only within the deadline."""
    api = Api(clock, takes=60.0)
    counting = start(api.count(PREFER))
    await settle()
    await clock.advance(10.1)
    assert EXACT == (await counting).method
    for who, wait in ((PREFER, 5.0), (UPSTREAM, 20.0)):
        late = start(api.count(who, deadline=wait))
        await settle()
        await clock.advance(wait + 0.1)
        with pytest.raises(DeadlinePassed):
            await late


def start(work: Any) -> asyncio.Task[Any]:
    """Return work that goes on meanwhile."""
    return get_running_loop().create_task(work)


# --- with a session


async def whole(desk: Desk, request: pb.CountTokensRequest, **who: Any) -> pb.CountTokensRequest:
    """Return what is counted of a request that may name a session of the desk."""
    context = SessionContext(desk.store, lambda: desk.options, desk.wall)
    api = Api(desk.clock)
    policy = TokenCount(TokensOptions, api.ask, counter_of(Characters()), context, desk.clock)
    return await policy.whole(desk.call(**who), request)


async def test_a_session_is_counted_with_what_stands_there(clock: FakeClock) -> None:
    """Its turns, its system instruction and its model, then the new turn; the store only reads."""
    desk = Desk(clock, reply("one"))
    await desk.create(model="models/own", system_instruction=say("be brief"))
    await desk.ask("a")
    desk.store.visits.clear()
    found = await whole(desk, pb.CountTokensRequest(prompt="b", session="sessions/s"))
    assert ["user: a", "model: one", "user: b"] == texts(found.contents)
    assert ("models/own", "be brief", "", "") == (
        found.model,
        found.system_instruction.parts[0].text,
        found.session,
        found.prompt,
    )
    assert ["load"] == desk.store.visits
    assert (await desk.ask("b")) is not None  # nobody holds the session


async def test_what_the_request_says_goes_before_the_session(clock: FakeClock) -> None:
    """Model and system instruction; all else is the request's alone."""
    desk = Desk(clock)
    await desk.create(model="models/own", system_instruction=say("be brief"))
    request = pb.CountTokensRequest(
        session="sessions/s",
        model="models/other",
        system_instruction=say("be long"),
        contents=[say("x")],
        cached_content="cachedContents/c",
    )
    found = await whole(desk, request)
    assert ("models/other", "be long", "cachedContents/c") == (
        found.model,
        found.system_instruction.parts[0].text,
        found.cached_content,
    )


async def test_a_session_alone_is_counted(clock: FakeClock) -> None:
    """What it holds so far, with nothing new."""
    desk = Desk(clock, reply("one"))
    await desk.create()
    await desk.ask("a")
    found = await whole(desk, pb.CountTokensRequest(session="sessions/s"))
    assert ["user: a", "model: one"] == texts(found.contents)


async def test_without_a_session_the_request_stays_as_it_is(clock: FakeClock) -> None:
    """Nothing is read, and the object is the same."""
    desk = Desk(clock)
    request = pb.CountTokensRequest(prompt="b")
    assert request is await whole(desk, request)
    assert [] == desk.store.visits


async def test_only_the_callers_own_session_is_counted(clock: FakeClock) -> None:
    """Somebody else's is as unknown as one that does not exist."""
    desk = Desk(clock)
    await desk.create()
    for name, who in (("s", Principal("acme", "bob")), ("none", Principal("acme", "ann"))):
        with pytest.raises(UnknownResource):
            await whole(desk, pb.CountTokensRequest(session=f"sessions/{name}"), who=who)


async def test_the_callers_request_stays_as_it_is(clock: FakeClock) -> None:
    """Who counts is left out of what goes upstream, not of what the caller asked."""
    api = Api(clock)
    context = SessionContext(DictSessions(), SessionsOptions, lambda: 0.0)
    count = TokenCount(TokensOptions, api.ask, counter_of(Characters()), context, clock)
    request = pb.CountTokensRequest(model=MODEL, prompt="hello", counting=UPSTREAM)
    await count.answer(make_call(clock), request)
    assert [0] == [asked.counting for asked in api.asked]
    assert UPSTREAM == request.counting
