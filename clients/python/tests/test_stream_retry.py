"""Retries of streams, which the client makes itself."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from clients.python.tests.fake_backend import HELLO, PATIENCE, Failure, FakeBackend
from gemini.backend.v1 import execute_service_pb2_grpc
from gemini.backend.v1.execute_service_pb2 import ExecuteRequest
from gemini.backend.v1.session_service_pb2 import CreateSessionRequest
from gemini_backend_client import (
    AsyncClient,
    CancelledError,
    Client,
    GeminiBackendError,
    RetryPolicy,
    UnavailableError,
)
from gemini_backend_client.connection.retry import Retries, Throttle

if TYPE_CHECKING:
    from collections.abc import Callable

_DOWN = Failure(grpc.StatusCode.UNAVAILABLE, "down")
_SLOW = RetryPolicy(initial_backoff=60, max_backoff=60)
_TIMEOUT = 1.5


class _Down(grpc.RpcError):
    """A failure as grpc raises it."""

    def __init__(self, *trailers: tuple[str, str | bytes]) -> None:
        self._trailers = trailers

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNAVAILABLE

    def trailing_metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        return self._trailers


def outcome_of(work: Callable[[], object]) -> tuple[threading.Thread, list[BaseException]]:
    """Run `work`, which has to fail, in a thread; return it and the list its failure goes to."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except GeminiBackendError as error:
            failures.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, failures


@pytest.mark.parametrize("gone_after", [0.005, 0.012, 0.03])
def test_a_server_that_goes_away_during_a_retry(gone_after: float) -> None:
    """A blocking stream ends by its deadline though the server goes away between attempts."""
    fake = FakeBackend()
    for _ in range(10):
        fake.script(_DOWN)
    server = grpc.server(ThreadPoolExecutor(4))
    execute_service_pb2_grpc.add_ExecuteServiceServicer_to_server(fake, server)
    fake.port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    client = Client(
        fake.target, retry=RetryPolicy(initial_backoff=0.01, max_backoff=0.02), timeout=_TIMEOUT
    )
    thread, failures = outcome_of(lambda: client.execute("hi").result())
    time.sleep(gone_after)
    server.stop(grace=0)
    thread.join(_TIMEOUT + 1)
    assert 1 == len(failures)
    client.close()


def test_attempts_share_one_deadline(backend: FakeBackend) -> None:
    """A later attempt is told what is left of the call's time."""
    backend.script(_DOWN)
    fast = RetryPolicy(initial_backoff=0.5, max_backoff=0.5)
    with Client(backend.target, retry=fast, timeout=2) as client:
        assert "Hello" == client.execute("hi").text()
    first, second = (remaining or 0 for remaining in backend.remaining)
    assert first - 0.3 > second


def test_no_wait_beyond_the_deadline(backend: FakeBackend) -> None:
    """Where the next attempt would come too late the failure is told at once, as it is."""
    backend.script(_DOWN)
    began = time.monotonic()
    with (
        Client(backend.target, retry=_SLOW, timeout=PATIENCE) as client,
        pytest.raises(UnavailableError, match="down"),
    ):
        client.execute("hi").result()
    assert time.monotonic() - began < PATIENCE / 2
    assert 1 == len(backend.requests)


@pytest.mark.parametrize("closes", ["stream", "client"])
def test_a_wait_can_be_ended(backend: FakeBackend, closes: str) -> None:
    """Closing the stream, or the client, ends the wait for another attempt."""
    backend.script(_DOWN)
    with Client(backend.target, retry=_SLOW, timeout=None) as client:
        execution = client.execute("hi")
        thread, failures = outcome_of(execution.result)
        backend.left.wait(PATIENCE)
        time.sleep(0.1)
        (execution if closes == "stream" else client).close()
        thread.join(PATIENCE)
    assert [CancelledError] == [type(failure) for failure in failures]
    assert 1 == len(backend.requests)


@pytest.mark.parametrize("closes", ["stream", "client", "task"])
async def test_a_wait_can_be_ended_under_asyncio(backend: FakeBackend, closes: str) -> None:
    """So it is under asyncio, where cancelling the task ends it too."""
    backend.script(_DOWN)
    async with AsyncClient(backend.target, retry=_SLOW, timeout=None) as client:
        execution = client.execute("hi")
        reading = asyncio.ensure_future(execution.result())
        await asyncio.to_thread(backend.left.wait, PATIENCE)
        await asyncio.sleep(0.1)
        if closes == "task":
            reading.cancel()
        elif closes == "client":
            await client.close()
        else:
            execution.close()
        expected = asyncio.CancelledError if closes == "task" else CancelledError
        with pytest.raises(expected):
            await asyncio.wait_for(reading, PATIENCE)
    assert 1 == len(backend.requests)


async def test_pushback_under_asyncio(backend: FakeBackend) -> None:
    """A server that names a wait gets it; one that forbids a retry gets none."""
    backend.script(
        Failure(grpc.StatusCode.UNAVAILABLE, trailers=(("grpc-retry-pushback-ms", "30"),))
    )
    backend.script(*HELLO)
    backend.script(
        Failure(grpc.StatusCode.UNAVAILABLE, trailers=(("grpc-retry-pushback-ms", "-1"),))
    )
    async with AsyncClient(backend.target, retry=_SLOW, timeout=PATIENCE) as client:
        assert "Hello" == await client.execute("hi").text()
        with pytest.raises(UnavailableError):
            await client.execute("hi").text()
    assert 3 == len(backend.requests)


def test_waits_grow_up_to_their_bound() -> None:
    """Each wait is the policy's, give or take a fifth."""
    policy = RetryPolicy(attempts=5, initial_backoff=1, max_backoff=3, multiplier=2)
    retries = Retries(policy, Throttle(), ExecuteRequest(), None)
    for expected in (1, 2, 3, 3):
        assert retries.next_timeout() is None
        assert 0.8 * expected <= (retries.pause_after(_Down()) or 0) <= 1.2 * expected
    retries.next_timeout()
    assert retries.pause_after(_Down()) is None


@pytest.mark.parametrize("pushback", ["-1", "soon", "", "1.5", b"\xff"])
def test_pushback_that_is_no_number_forbids(pushback: str | bytes) -> None:
    """As in gRPC itself, whatever is no number of milliseconds means: not again."""
    retries = Retries(RetryPolicy(), Throttle(), ExecuteRequest(), None)
    retries.next_timeout()
    assert retries.pause_after(_Down(("grpc-retry-pushback-ms", pushback))) is None


@pytest.mark.parametrize(("seconds", "pause"), [(10.0, 2.5), (2.0, None)])
def test_a_delay_is_waited_for_within_the_deadline(seconds: float, pause: float | None) -> None:
    """A server that names a time without pushback is not asked before it, nor in vain."""
    status = Status(code=14, message="the circuit is open")
    status.details.add().Pack(RetryInfo(retry_delay={"seconds": 2, "nanos": 500_000_000}))
    retries = Retries(RetryPolicy(), Throttle(), ExecuteRequest(), seconds)
    retries.next_timeout()
    failed = _Down(("grpc-status-details-bin", status.SerializeToString()))
    assert pause == retries.pause_after(failed)


def test_only_streams_without_side_effects_are_made_again() -> None:
    """What may change something is not made twice."""
    retries = Retries(RetryPolicy(), Throttle(), CreateSessionRequest(), None)
    retries.next_timeout()
    assert retries.pause_after(_Down()) is None


def test_the_throttle_ends_retries_while_most_calls_fail() -> None:
    """Half of the tokens gone, nothing is made again; ten successes give one token back."""
    throttle = Throttle()
    assert [True] * 49 + [False] * 2 == [throttle.failed() for _ in range(51)]
    for _ in range(30):
        throttle.succeeded()
    assert throttle.failed()
    assert not throttle.failed()
