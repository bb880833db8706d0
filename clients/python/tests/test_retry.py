"""Retries as a caller sees them, of whole answers and of streams."""

from __future__ import annotations

import json
import math
import threading
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from clients.python.tests.fake_backend import HELLO, PATIENCE, STARTED, Failure, piece
from gemini.backend.v1.execute_service_pb2 import (
    BatchExecuteResponse,
    ExecuteRequest,
    ProcessRequest,
    ProcessResponse,
)
from gemini_backend_client import (
    AsyncClient,
    Client,
    NotFoundError,
    RateLimitedError,
    RetryPolicy,
    UnavailableError,
)
from gemini_backend_client.connection.retry import service_config

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clients.python.tests.fake_backend import FakeBackend

_DOWN = Failure(grpc.StatusCode.UNAVAILABLE, "down")
_FAST = RetryPolicy(initial_backoff=0.01, max_backoff=0.02)


@pytest.fixture
def hasty(backend: FakeBackend) -> Iterator[Client]:
    """Give a client that waits hardly at all between attempts."""
    with Client(backend.target, retry=_FAST, timeout=PATIENCE) as client:
        yield client


def test_two_failures_then_an_answer(hasty: Client, backend: FakeBackend) -> None:
    """A call that met UNAVAILABLE twice is made a third time."""
    backend.script(_DOWN)
    backend.script(_DOWN)
    assert "Hello" == hasty.process("hi").text
    assert 3 == len(backend.requests)


def test_streams_are_retried_before_the_first_event(hasty: Client, backend: FakeBackend) -> None:
    """A stream that fails before its first event is made again."""
    backend.script(_DOWN)
    backend.script(_DOWN)
    assert "Hello" == hasty.execute("hi").text()
    assert 3 == len(backend.requests)


async def test_retries_under_asyncio(backend: FakeBackend) -> None:
    """Under asyncio too."""
    backend.script(_DOWN)
    backend.script(_DOWN)
    async with AsyncClient(backend.target, retry=_FAST) as client:
        assert "Hello" == await client.execute("hi").text()
    assert 3 == len(backend.requests)


def test_streams_are_not_retried_after_an_event(hasty: Client, backend: FakeBackend) -> None:
    """What has been given out is never repeated."""
    backend.script(STARTED, piece("one"), _DOWN)
    with pytest.raises(UnavailableError):
        hasty.execute("hi").result()
    assert 1 == len(backend.requests)


def test_four_attempts_are_all(hasty: Client, backend: FakeBackend) -> None:
    """After the fourth failure the call fails."""
    for _ in range(6):
        backend.script(_DOWN)
    with pytest.raises(UnavailableError):
        hasty.process("hi")
    assert 4 == len(backend.requests)


_KEEP: dict[str, Any] = {"on_disconnect": {"mode": "DISCONNECT_MODE_KEEP"}}
_SESSION: dict[str, Any] = {"session": "sessions/s"}


@pytest.mark.parametrize("ask", ["process", "execute"])
def test_what_leaves_something_behind_is_made_once(
    hasty: Client, backend: FakeBackend, ask: str
) -> None:
    """An execution that outlives its caller is the caller's to repeat."""
    backend.script(_DOWN)
    with pytest.raises(UnavailableError):
        _asked(hasty, ask, _KEEP)
    assert 1 == len(backend.requests)


@pytest.mark.parametrize("fields", [_SESSION, {**_SESSION, **_KEEP}])
@pytest.mark.parametrize("ask", ["process", "execute"])
def test_a_turn_is_retried_under_one_id(
    hasty: Client, backend: FakeBackend, ask: str, fields: dict[str, Any]
) -> None:
    """A turn without an id is given one, by which the server knows each attempt; each its own."""
    backend.script(_DOWN)
    _asked(hasty, ask, fields)
    _asked(hasty, ask, fields)
    first, second, other = (request.request_id for request in backend.requests)
    assert (first, True) == (second, bool(first))
    assert other not in {"", first}


def test_an_id_of_the_callers_own_is_kept(hasty: Client, backend: FakeBackend) -> None:
    """Whoever names a turn may send it again by that name; a request of theirs is not changed."""
    backend.script(_DOWN)
    hasty.process("hi", request_id="mine", **_SESSION)
    given = ProcessRequest(prompt="hi", **_SESSION)
    hasty.process(request=given)
    assert ["mine", "mine"] == [request.request_id for request in backend.requests[:2]]
    assert ("", True) == (given.request_id, bool(backend.requests[2].request_id))


def test_only_turns_are_given_an_id(hasty: Client, backend: FakeBackend) -> None:
    """Elsewhere an id is for logs, and the caller's to give."""
    hasty.process("hi")
    hasty.count_tokens("hi", **_SESSION)
    backend.script()
    list(hasty.batch(["a"], **_SESSION))
    whole, _, batch = backend.requests
    assert ("", True) == (whole.request_id, bool(batch.items[0].request_id))


def test_what_is_created_is_retried_under_one_id(hasty: Client, backend: FakeBackend) -> None:
    """A lost answer makes no second session."""
    backend.script(_DOWN)
    hasty.sessions.create("s")
    first, second = backend.requests
    assert (first.request_id, True) == (second.request_id, bool(first.request_id))


def test_a_retried_deletion_that_finds_nothing_is_done(hasty: Client, backend: FakeBackend) -> None:
    """The attempt whose answer was lost may have deleted it; a first attempt is believed."""
    missing = Failure(grpc.StatusCode.NOT_FOUND)
    backend.script(_DOWN)
    backend.script(missing)
    hasty.sessions.delete("s")
    backend.script(missing)
    with pytest.raises(NotFoundError):
        hasty.sessions.delete("s")
    assert 3 == len(backend.requests)


@pytest.mark.parametrize("mode", ["DISCONNECT_MODE_CANCEL", "DISCONNECT_MODE_DRAIN"])
@pytest.mark.parametrize("ask", ["process", "execute"])
def test_other_ways_to_leave_change_nothing(
    hasty: Client, backend: FakeBackend, ask: str, mode: str
) -> None:
    """An execution that ends with its caller, or is only read to its end, may be made again."""
    backend.script(_DOWN)
    _asked(hasty, ask, {"on_disconnect": {"mode": mode}})
    assert 2 == len(backend.requests)


def _asked(client: Client, ask: str, fields: dict[str, Any]) -> None:
    if ask == "process":
        client.process("hi", **fields)
    else:
        client.execute("hi", **fields).result()


@pytest.mark.parametrize("fields", [{}, _SESSION, _KEEP])
def test_a_batch_is_retried_where_all_its_items_are(
    hasty: Client, backend: FakeBackend, fields: dict[str, Any]
) -> None:
    """One item that leaves something behind makes the whole batch the caller's to repeat."""
    backend.script(_DOWN)
    backend.script(*(BatchExecuteResponse(index=i, response=ProcessResponse()) for i in (0, 1)))
    results = hasty.batch([ExecuteRequest(prompt="a"), ExecuteRequest(prompt="b", **fields)])
    if fields is _KEEP:
        with pytest.raises(UnavailableError):
            list(results)
    else:
        assert [0, 1] == sorted(result.index for result in results)
    assert (1 if fields is _KEEP else 2) == len(backend.requests)


async def test_the_same_under_asyncio(backend: FakeBackend) -> None:
    """What outlives its caller is made once, turns and deletions again."""
    async with AsyncClient(backend.target, retry=_FAST) as client:
        backend.script(_DOWN)
        assert "Hello" == (await client.process("hi", **_SESSION)).text
        backend.script(_DOWN)
        with pytest.raises(UnavailableError):
            await client.process("hi", **_KEEP)
        backend.script(_DOWN)
        backend.script(Failure(grpc.StatusCode.NOT_FOUND))
        await client.sessions.delete("s")
    assert 5 == len(backend.requests)


def test_other_codes_are_not_retried(hasty: Client, backend: FakeBackend) -> None:
    """Only UNAVAILABLE is worth another attempt of the client's own."""
    backend.script(Failure(grpc.StatusCode.RESOURCE_EXHAUSTED))
    with pytest.raises(RateLimitedError):
        hasty.process("hi")
    assert 1 == len(backend.requests)


def test_pushback_forbids(hasty: Client, backend: FakeBackend) -> None:
    """A server that says "do not retry" is heeded."""
    no = Failure(grpc.StatusCode.UNAVAILABLE, "no", trailers=(("grpc-retry-pushback-ms", "-1"),))
    backend.script(no)
    with pytest.raises(UnavailableError):
        hasty.process("hi")
    assert 1 == len(backend.requests)


def test_pushback_delays(backend: FakeBackend) -> None:
    """A server that names a wait gets it, in place of the client's own backoff."""
    later = Failure(
        grpc.StatusCode.UNAVAILABLE, "later", trailers=(("grpc-retry-pushback-ms", "30"),)
    )
    backend.script(later)
    backend.script(*[HELLO[0], *HELLO[1:]])
    # With this backoff alone the second attempt could come after minutes.
    slow = RetryPolicy(initial_backoff=3600, max_backoff=3600)
    with Client(backend.target, retry=slow, timeout=PATIENCE) as client:
        assert "Hello" == client.execute("hi").text()
    assert 2 == len(backend.requests)


def test_no_retries_when_turned_off(backend: FakeBackend) -> None:
    """`retry=None` means one attempt."""
    backend.script(_DOWN)
    with Client(backend.target, retry=None) as client, pytest.raises(UnavailableError):
        client.process("hi")
    assert 1 == len(backend.requests)


def test_pushback_is_the_retry_after(hasty: Client, backend: FakeBackend) -> None:
    """Where there is no RetryInfo, the trailer tells how long to wait."""
    later = Failure(
        grpc.StatusCode.RESOURCE_EXHAUSTED, trailers=(("grpc-retry-pushback-ms", "1500"),)
    )
    backend.script(later)
    with pytest.raises(RateLimitedError) as caught:
        hasty.process("hi")
    assert 1.5 == caught.value.retry_after


def test_only_methods_without_side_effects() -> None:
    """The contract says which methods may be made twice; no others are listed."""
    (method_config,) = json.loads(service_config(RetryPolicy()))["methodConfig"]
    names = {f"{name['service']}/{name['method']}" for name in method_config["name"]}
    assert "gemini.backend.v1.ExecuteService/CountTokens" in names
    assert "gemini.backend.v1.ExecuteService/Process" not in names  # it may have a session
    assert "gemini.backend.v1.ExecuteService/Execute" not in names
    assert "gemini.backend.v1.ModelService/ListModels" in names
    assert "gemini.backend.v1.SessionService/CreateSession" not in names
    assert "gemini.backend.v1.ConfigService/UpdateConfig" not in names
    assert 4 == method_config["retryPolicy"]["maxAttempts"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"attempts": 1},
        {"attempts": 6},
        {"initial_backoff": 0.0},
        {"initial_backoff": 2.0, "max_backoff": 1.0},
        {"initial_backoff": 1.0, "max_backoff": math.inf},
        {"multiplier": 0.5},
        {"multiplier": math.nan},
    ],
)
def test_impossible_policies_are_refused(wrong: dict[str, float]) -> None:
    """What gRPC would ignore in silence is an error here."""
    with pytest.raises(ValueError, match=r"give|attempts"):
        RetryPolicy(**wrong)  # type: ignore[arg-type]


def test_threads_are_all_gone_after_close(backend: FakeBackend) -> None:
    """A closed client leaves no thread of its own behind."""
    before = set(threading.enumerate())
    with Client(backend.target) as client:
        client.execute("hi").result()
    mine = [t for t in threading.enumerate() if t not in before and "ThreadPool" not in t.name]
    for thread in mine:
        thread.join(PATIENCE)
    assert [] == [thread for thread in mine if thread.is_alive()]
