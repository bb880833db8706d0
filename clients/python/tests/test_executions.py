"""Executions by name, and streams that go on when their connection is lost.

Covers: calls/executions.py, connection/resumption.py
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo

from clients.python.tests.fake_backend import HELLO, STARTED, Failure, Lost, Pause, piece, whole
from gemini.backend.v1.execute_service_pb2 import EXECUTION_STATE_CANCELLED, EXECUTION_STATE_RUNNING
from gemini_backend_client import (
    AsyncClient,
    Client,
    NotFoundError,
    RetryPolicy,
    UnavailableError,
    UpstreamError,
)

if TYPE_CHECKING:
    from clients.python.tests.fake_backend import FakeBackend

KEEP = {"mode": "DISCONNECT_MODE_KEEP"}
DRAIN = {"mode": "DISCONNECT_MODE_DRAIN"}
AT_ONCE = RetryPolicy(initial_backoff=0.01, max_backoff=0.01)
NAME = "executions/e-1"


def places(backend: FakeBackend) -> list[tuple[str, int]]:
    """Return what each call of the backend has resumed, and from where."""
    return [(one.resume.execution, one.resume.after_sequence) for one in backend.requests]


def test_executions_are_read_cancelled_and_listed(client: Client, backend: FakeBackend) -> None:
    """By a name or an id; lists ask for the next page when it is needed."""
    assert NAME == client.executions.get("e-1").name
    assert EXECUTION_STATE_CANCELLED == client.executions.cancel(NAME).state
    listed = client.executions.list(states=["RUNNING"], labels={"team": "a"}, batch="b")
    assert [f"executions/{one}" for one in "cba"] == [one.name for one in listed]
    first = backend.requests[2]
    assert ([EXECUTION_STATE_RUNNING], {"team": "a"}, "executions/b") == (
        list(first.states),
        dict(first.labels),
        first.batch,
    )
    with pytest.raises(ValueError, match="SLEEPING"):
        client.executions.list(states=["SLEEPING"])


async def test_the_other_client_can_do_the_same(async_client: AsyncClient) -> None:
    """With `await` and `async for`."""
    assert NAME == (await async_client.executions.get("e-1")).name
    assert EXECUTION_STATE_CANCELLED == (await async_client.executions.cancel("e-1")).state
    assert 3 == len([one async for one in async_client.executions.list()])


async def test_the_name_is_known_before_any_event(
    client: Client, async_client: AsyncClient, backend: FakeBackend
) -> None:
    """Both clients can wait for it, and have it when the stream fails before its first event."""
    down = Failure(grpc.StatusCode.UNAVAILABLE, "down", (), (("grpc-retry-pushback-ms", "-1"),))
    pauses = [Pause(), Pause()]
    for pause in pauses:
        backend.names.append(NAME)
        backend.script(pause, down)
    execution = client.execute("hi")
    assert NAME == execution.wait_for_name() == execution.execution_id
    pauses[0].over.set()
    with pytest.raises(UnavailableError) as failed:
        execution.result()
    assert NAME == failed.value.execution_id
    other = async_client.execute("hi")
    assert NAME == await other.wait_for_name() == await other.wait_for_name()
    pauses[1].over.set()
    with pytest.raises(UnavailableError) as failed:
        await other.result()
    assert NAME == failed.value.execution_id


def test_a_lost_unary_call_says_which_execution_it_was(
    client: Client, backend: FakeBackend
) -> None:
    """The name that had arrived is in the error, so that the execution can be read."""
    backend.names.append(NAME)
    backend.script(Lost())
    with pytest.raises(UnavailableError) as failed:
        client.process("hi", on_disconnect=KEEP)
    assert NAME == failed.value.execution_id


@pytest.mark.parametrize("how", [KEEP, DRAIN], ids=["keep", "drain"])
def test_a_stream_lost_before_its_first_event_goes_on(backend: FakeBackend, how: object) -> None:
    """It is resumed by the name in the initial metadata, from the beginning."""
    backend.names.append(NAME)
    backend.script(Lost())
    with Client(backend.target, retry=AT_ONCE) as client:
        assert "Hello" == client.execute("hi", on_disconnect=how).text()
    assert [("", 0), (NAME, 0)] == places(backend)


async def test_a_stream_lost_in_the_middle_goes_on(backend: FakeBackend) -> None:
    """However often it is lost, nothing is missing and nothing comes twice."""
    for _ in range(2):
        backend.names.extend([NAME] * 3)
        backend.script(STARTED, piece("a"), Lost())
        backend.script(*(piece(letter) for letter in "bc"), Lost())
        backend.script(piece("d"), whole())
    with Client(backend.target, retry=AT_ONCE) as client:
        assert "abcd" == client.execute("hi", on_disconnect=KEEP).text()
    async with AsyncClient(backend.target, retry=AT_ONCE) as client:
        assert "abcd" == await client.execute("hi", on_disconnect=KEEP).text()
    assert [("", 0), ("e-1", 2), ("e-1", 4)] * 2 == places(backend)


def test_what_is_not_kept_is_not_resumed(backend: FakeBackend) -> None:
    """By default a lost execution has ended: after its first event its caller is told."""
    backend.names.append(NAME)
    backend.script(STARTED, piece("a"), Lost())
    with Client(backend.target, retry=AT_ONCE) as client, pytest.raises(UnavailableError):
        client.execute("hi").text()
    assert 1 == len(backend.requests)


def test_a_failure_of_the_execution_is_final(backend: FakeBackend) -> None:
    """A status of the server's own ends it: there is nothing to resume."""
    backend.names.append(NAME)
    info = ErrorInfo(reason="UPSTREAM_STREAM_CUT", domain="gemini.backend")
    backend.script(STARTED, Failure(grpc.StatusCode.UNAVAILABLE, "cut", (info,)))
    with Client(backend.target, retry=AT_ONCE) as client, pytest.raises(UpstreamError):
        client.execute("hi", on_disconnect=KEEP).text()
    assert 1 == len(backend.requests)


def test_resuming_ends_with_the_attempts(backend: FakeBackend) -> None:
    """A server that stays away is given up; one that has forgotten it says so."""
    for _ in range(4):
        backend.names.append(NAME)
        backend.script(Lost())
    policy = RetryPolicy(attempts=3, initial_backoff=0.01, max_backoff=0.01)
    with Client(backend.target, retry=policy) as client, pytest.raises(UnavailableError):
        client.execute("hi", on_disconnect=KEEP).text()
    assert 3 == len(backend.requests)
    backend.script(Failure(grpc.StatusCode.NOT_FOUND, "no longer kept"))
    with Client(backend.target, retry=policy) as client, pytest.raises(NotFoundError):
        client.execute("hi", on_disconnect=KEEP).text()


def test_without_retries_nothing_is_resumed(backend: FakeBackend) -> None:
    """`retry=None` leaves it to the caller, who has the name and the last event."""
    backend.names.append(NAME)
    backend.script(*HELLO[:2], Lost())
    with Client(backend.target, retry=None) as client, pytest.raises(UnavailableError) as failed:
        client.execute("hi", on_disconnect=KEEP).text()
    assert ("e-1", 2) == (failed.value.execution_id, failed.value.last_sequence)
