"""SessionService, on the real store in memory.

Covers: api/messages/sessions.py
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.duration_pb2 import Duration
from msgspec.structs import replace

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import session_service_pb2 as pb
from gemini_backend.api.sessions import SessionService
from gemini_backend.clock import SystemClock
from gemini_backend.config.sections.sessions import SessionsOptions
from gemini_backend.errors import (
    AlreadyExists,
    Conflict,
    InvalidRequest,
    ServiceError,
    SessionFull,
    UnknownResource,
)
from gemini_backend.principal import Principal
from gemini_backend.stores.session_service import SessionContext
from gemini_backend.stores.sessions_sqlite import SCHEMA, SqliteSessions
from gemini_backend.stores.sqlite import Database
from gemini_backend.telemetry.metrics.listeners.session_counts import SessionCounts
from tests.support.layers.inproc import collect
from tests.support.layers.session_layer import ANN, EPOCH, say
from tests.support.messages.calls import make_call
from tests.support.messages.events import heard_by

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.clock import FakeClock

HISTORY = [say("q1"), say("a1", role="model"), say("q2"), say("a2", role="model")]


class Desk:
    """The servicer, asked by one principal or another."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.counts = SessionCounts()
        self.options = SessionsOptions()
        bus = heard_by(self.counts)
        database = Database(None, SCHEMA, clock=SystemClock(), power=False)
        self.store = SqliteSessions(database)
        context = SessionContext(self.store, lambda: self.options, self.wall, bus)
        self.servicer = SessionService(context)

    def wall(self) -> float:
        return EPOCH + self.clock.now()

    async def ask(self, method: str, request: Any, who: Principal = ANN) -> Any:
        call = replace(make_call(self.clock), principal=who)
        answer = getattr(self.servicer, method)(call, request)
        return await (collect(answer) if method == "ExportSession" else answer)

    async def create(self, name: str = "", who: Principal = ANN, **fields: Any) -> pb.Session:
        request = pb.CreateSessionRequest(session_id=name, **fields)
        made: pb.Session = (await self.ask("CreateSession", request, who)).session
        return made

    async def names(self, who: Principal = ANN, **fields: Any) -> list[str]:
        """Return the names of all pages, each asked for by the token of the one before."""
        request, found = pb.ListSessionsRequest(**fields), []
        while True:
            page = await self.ask("ListSessions", request, who)
            found += [session.name for session in page.sessions]
            request.page_token = page.next_page_token
            if not request.page_token:
                return found


@pytest.fixture
async def desk(clock: FakeClock) -> AsyncIterator[Desk]:
    """A servicer on an empty store."""
    made = Desk(clock)
    yield made
    await made.store.database.aclose()


async def refused(kind: type[ServiceError], work: Any) -> ServiceError:
    """Return the failure of a call that has to fail."""
    with pytest.raises(kind) as failed:
        await work
    return failed.value


async def test_a_session_is_made_as_it_was_asked_for(desk: Desk) -> None:
    """What its owner may set is kept; what only the server sets is the server's."""
    asked = pb.Session(
        name="sessions/other",
        display_name="Rivers",
        model="gemini-x",
        system_instruction=say("be brief"),
        labels={"a": "1"},
        ttl=Duration(seconds=60),
        overflow=pb.SESSION_OVERFLOW_REFUSE,
        concurrency=pb.SESSION_CONCURRENCY_REFUSE,
        turn_count=7,
        summary="mine",
        etag="mine",
    )
    made = await desk.create("s1", session=asked, history=HISTORY)
    assert ("sessions/s1", 2, "", EPOCH + 1060) == (
        made.name,
        made.turn_count,
        made.summary,
        made.expire_time.seconds,
    )
    for field in ("display_name", "model", "system_instruction", "labels", "ttl", "overflow"):
        assert getattr(asked, field) == getattr(made, field)
    assert made == (await desk.ask("GetSession", pb.GetSessionRequest(name="sessions/s1"))).session
    assert made.create_time == made.update_time
    assert made.etag not in {"", "mine"}


async def test_a_session_without_an_id_gets_one(desk: Desk) -> None:
    """Ids made here are long, and differ."""
    names = {(await desk.create()).name for _ in range(20)}
    assert (20, {len("sessions/") + 26}) == (len(names), {len(name) for name in names})


async def test_an_id_is_taken_once(desk: Desk) -> None:
    """A second session of the same id is refused, unless its owner is another one."""
    first, request = await desk.create("s1"), pb.GetSessionRequest(name="sessions/s1")
    await refused(AlreadyExists, desk.create("s1", session=pb.Session(display_name="other")))
    assert first == (await desk.ask("GetSession", request)).session
    bob = Principal("acme", "bob")
    theirs = await desk.create("s1", bob, session=pb.Session(display_name="theirs"))
    assert theirs == (await desk.ask("GetSession", request, bob)).session
    assert first == (await desk.ask("GetSession", request)).session
    assert 2 == desk.counts.events["created"]


async def test_a_repeated_request_makes_one_session(desk: Desk) -> None:
    """The same request_id gives the same session for 24 hours; another request is refused."""
    first = await desk.create("s1", request_id="r")
    assert first == await desk.create("s1", request_id="r")
    error = await refused(Conflict, desk.create(request_id="r"))
    assert "use a new request_id" in error.message
    assert 1 == desk.counts.events["created"]
    other = await desk.create(request_id="r", who=Principal("acme", "bob"))
    await desk.clock.advance(86_400)
    later = await desk.create(request_id="r")
    assert 3 == len({first.name, other.name, later.name})


@pytest.mark.parametrize(
    ("history", "place"),
    [
        ([say("a", role="model")], 0),
        ([say("q"), say("q")], 1),
        ([say("q"), say("a", role="model"), say("b", role="model")], 2),
        ([say("q"), say("r", role="function")], 1),
    ],
)
async def test_roles_alternate(desk: Desk, history: list[content.Content], place: int) -> None:
    """A history with two questions or two answers in a row is refused by place."""
    error = await refused(InvalidRequest, desk.create(history=history))
    assert [f"history[{place}].role"] == [item.field for item in error.violations]


async def test_a_history_may_end_with_a_question(desk: Desk) -> None:
    """A last question without an answer is a turn without output."""
    made = await desk.create("s", history=[*HISTORY, say("q3")])
    request = pb.GetSessionRequest(name=made.name, include_turns=True)
    turns = (await desk.ask("GetSession", request)).turns
    assert ([1, 2, 3], [True, True, False]) == (
        [turn.index for turn in turns],
        [turn.HasField("output") for turn in turns],
    )


async def test_turns_come_in_pages(desk: Desk) -> None:
    """Every turn comes once, oldest first, whatever the size of the page."""
    await desk.create("s", history=HISTORY * 25)
    for size, pages in ((1, 50), (7, 8), (50, 1), (0, 1), (5000, 1)):
        request = pb.GetSessionRequest(name="sessions/s", include_turns=True, page_size=size)
        found, count = [], 0
        while True:
            answer = await desk.ask("GetSession", request)
            found += [turn.index for turn in answer.turns]
            count += 1
            request.page_token = answer.next_page_token
            if not request.page_token:
                break
        assert (list(range(1, 51)), pages) == (found, count)


async def test_pages_of_large_turns_are_short(desk: Desk) -> None:
    """No page is larger than what a gRPC client takes, but for one turn that is so by itself."""
    long = [say("x" * 900_000), say("y" * 900_000, role="model")]
    await desk.create("s", history=long * 5)
    request = pb.GetSessionRequest(name="sessions/s", include_turns=True)
    sizes = []
    while True:
        answer = await desk.ask("GetSession", request)
        sizes.append(answer.ByteSize())
        request.page_token = answer.next_page_token
        if not request.page_token:
            break
    assert max(sizes) < 4 * 1024 * 1024
    assert 3 == len(sizes)


async def test_a_made_up_token_is_refused(desk: Desk) -> None:
    """Tokens of another list, or of nobody, are refused; they read nothing."""
    await desk.create("s", history=HISTORY)
    await desk.create("other")
    request = pb.GetSessionRequest(name="sessions/s", include_turns=True, page_size=1)
    token = (await desk.ask("GetSession", request)).next_page_token
    assert token != ""
    get, page = pb.GetSessionRequest, {"include_turns": True}
    for method, wrong in (
        ("GetSession", get(name="sessions/other", page_token=token, **page)),
        ("GetSession", get(name="sessions/other", page_token="x", **page)),
        ("GetSession", get(name="sessions/s", page_token="zzzz", **page)),
        ("ListSessions", pb.ListSessionsRequest(page_token=token)),
    ):
        error = await refused(InvalidRequest, desk.ask(method, wrong))
        assert ["page_token"] == [item.field for item in error.violations]


async def test_the_latest_used_come_first(desk: Desk) -> None:
    """Sessions are listed by their latest use, the owner's only, with or without labels."""
    for number in range(5):
        labels = {"even": str(number % 2 == 0), "n": str(number)}
        await desk.create(f"s{number}", session=pb.Session(labels=labels))
        await desk.clock.advance(1)
    await desk.create("theirs", Principal("acme", "bob"))
    expected = [f"sessions/s{number}" for number in (4, 3, 2, 1, 0)]
    for size in (1, 2, 5, 0):
        assert expected == await desk.names(page_size=size)
    assert expected[::2] == await desk.names(labels={"even": "True"}, page_size=1)
    assert ["sessions/s2"] == await desk.names(labels={"even": "True", "n": "2"})
    assert [] == await desk.names(labels={"even": "Tru"})
    assert [] == await desk.names(labels={"eve": "True"})


async def test_deleting_is_for_good(desk: Desk) -> None:
    """What was deleted is not there, and a session of the same id afterwards is another one."""
    first = await desk.create("s", history=HISTORY)
    await desk.ask("DeleteSession", pb.DeleteSessionRequest(name=first.name))
    for method in ("GetSession", "DeleteSession", "ExportSession"):
        request = getattr(pb, f"{method}Request")(name=first.name)
        await refused(UnknownResource, desk.ask(method, request))
    allowed = pb.DeleteSessionRequest(name=first.name, allow_missing=True)
    await desk.ask("DeleteSession", allowed)
    assert [] == await desk.names()
    again = await desk.create("s")
    assert (0, False) == (again.turn_count, again.etag == first.etag)


async def test_deleting_by_etag(desk: Desk) -> None:
    """With another etag than the session's nothing is deleted."""
    made = await desk.create("s")
    wrong = pb.DeleteSessionRequest(name=made.name, etag="other", allow_missing=True)
    await refused(Conflict, desk.ask("DeleteSession", wrong))
    right = pb.DeleteSessionRequest(name=made.name, etag=made.etag)
    await desk.ask("DeleteSession", right)
    assert [] == await desk.names()


async def test_an_export_has_everything(desk: Desk) -> None:
    """First the session, then each of its turns in order."""
    made = await desk.create("s", history=HISTORY)
    items = await desk.ask("ExportSession", pb.ExportSessionRequest(name=made.name))
    assert made == items[0].session
    said = [part for item in items[1:] for part in (*item.turn.inputs, item.turn.output)]
    assert HISTORY == said


@pytest.mark.parametrize("who", [Principal("acme", "bob"), Principal("other", "ann")])
async def test_a_session_of_somebody_else_is_not_there(desk: Desk, who: Principal) -> None:
    """Nobody but its owner learns that a session exists."""
    made = await desk.create("s")
    for method in ("GetSession", "DeleteSession", "ExportSession"):
        theirs = getattr(pb, f"{method}Request")(name=made.name)
        nobodys = getattr(pb, f"{method}Request")(name="sessions/none")
        told = (await refused(UnknownResource, desk.ask(method, theirs, who))).message
        expected = (await refused(UnknownResource, desk.ask(method, nobodys, who))).message
        assert expected.replace("none", "s") == told
    assert [] == await desk.names(who)
    assert ["sessions/s"] == await desk.names()


async def test_a_tenant_has_so_many_sessions(desk: Desk) -> None:
    """At the bound a further one is refused, with the setting; expired ones do not count."""
    desk.options = SessionsOptions(max_sessions=2)
    await desk.create("a", session=pb.Session(ttl=Duration(seconds=5)))
    await desk.create("b", Principal("acme", "bob"))
    error = await refused(SessionFull, desk.create("c"))
    assert "sessions.max_sessions" in error.message
    await desk.create("c", Principal("other", "ann"))
    await desk.clock.advance(5)
    await desk.create("c")


@pytest.mark.parametrize(
    ("options", "history"),
    [({"max_turns": 1}, HISTORY), ({"max_session_mb": 1}, [say("x" * 1_100_000)])],
)
async def test_a_history_has_the_bounds_of_a_session(
    desk: Desk, options: dict[str, int], history: list[content.Content]
) -> None:
    """What a session could not hold, it cannot begin with."""
    desk.options = SessionsOptions(**options)  # type: ignore[arg-type]
    error = await refused(SessionFull, desk.create(history=history))
    assert f"sessions.{next(iter(options))}" in error.message


async def test_what_has_expired_is_not_there(desk: Desk) -> None:
    """From the moment on at which it expires, nothing shows a session, swept or not."""
    made = await desk.create("s", session=pb.Session(ttl=Duration(seconds=5)))
    await desk.clock.advance(4.5)
    assert [made.name] == await desk.names()
    await desk.clock.advance(0.5)
    assert [] == await desk.names()
    request = pb.GetSessionRequest(name=made.name)
    await refused(UnknownResource, desk.ask("GetSession", request))
    await desk.create("s")
