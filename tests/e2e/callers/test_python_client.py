"""The blocking Python client against the real server, through pytest-grpc's fixtures.

That plug-in runs a servicer in threads; here its fixtures lead to the asyncio server, a process
of its own, so that what they are used for is what users get.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import metrics_service_pb2 as metrics_pb
from gemini.backend.v1.execute_service_pb2_grpc import ExecuteServiceStub
from gemini_backend_client import (
    Client,
    DeadlineExceededError,
    InvalidRequestError,
    UnavailableError,
    UnknownModelError,
    UpstreamError,
)
from gemini_backend_client.errors import CancelledError
from tests.support.servers.process import clean_environ

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="module")
def grpc_server() -> Iterator[str]:
    """Run the server; yield its ready line."""
    ports = ("--listen", "127.0.0.1:0", "--web-listen", "127.0.0.1:0")
    command = [sys.executable, "-m", "gemini_backend", "serve", *ports]
    with subprocess.Popen(
        command,
        env={**clean_environ(), "GEMINI_BACKEND_RETRY__INITIAL_DELAY_MS": "10"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        yield process.stdout.readline()
        process.terminate()
        assert 0 == process.wait(10)


@pytest.fixture(scope="module")
def grpc_addr(grpc_server: str) -> str:
    """Return where the server really is."""
    return grpc_server.split("grpc=")[1].split(maxsplit=1)[0]


@pytest.fixture(scope="module")
def grpc_create_channel(grpc_addr: str) -> Callable[..., grpc.Channel]:
    """Return what opens a channel to it."""

    def create(
        credentials: grpc.ChannelCredentials | None = None, options: Any = None
    ) -> grpc.Channel:
        if credentials is not None:
            return grpc.secure_channel(grpc_addr, credentials, options)
        return grpc.insecure_channel(grpc_addr, options)

    return create


@pytest.fixture(scope="module")
def grpc_stub_cls() -> type[ExecuteServiceStub]:
    """Name the stub that `grpc_stub` is made of."""
    return ExecuteServiceStub


@pytest.fixture
def client(grpc_addr: str) -> Iterator[Client]:
    """Return a client of the server that makes one call of one: the server repeats attempts."""
    with Client(grpc_addr, timeout=20, retry=None) as made:
        yield made


def test_the_plugins_stub_reaches_the_real_server(grpc_stub: Any) -> None:
    """`grpc_stub` answers in real events."""
    events = list(grpc_stub.Execute(pb.ExecuteRequest(prompt="Say: hello")))
    assert events[-1].HasField("completed")


def test_the_plugins_channel_does_too(grpc_channel: grpc.Channel) -> None:
    """`grpc_channel` carries any stub."""
    answer = ExecuteServiceStub(grpc_channel).Process(pb.ProcessRequest(prompt="Say: hello"))
    assert "hello" == answer.candidates[0].content.parts[0].text


def test_text_streams(client: Client) -> None:
    """Iterating an execution gives its text; the result sums it up."""
    execution = client.execute("Say: one two three four five six seven eight nine ten " * 4)
    pieces = list(execution)
    assert len(pieces) > 1
    answer = execution.answer()
    assert answer.text == "".join(pieces)
    assert "STOP" == answer.finish_reason
    assert answer.usage.total_token_count > 0


def test_events_stream(client: Client) -> None:
    """Events come in order, numbered without gaps."""
    events = list(client.execute("Hello").events())
    assert list(range(1, len(events) + 1)) == [event.sequence for event in events]


@pytest.mark.parametrize(
    ("asked", "kind", "reason"),
    [
        ({"content": "hi", "model": "gemini-none"}, UnknownModelError, "CALLER_UNKNOWN_MODEL"),
        ({"content": " "}, InvalidRequestError, "CALLER_INVALID_REQUEST"),
        ({"content": "[[fault: overloaded]]"}, UnavailableError, "UPSTREAM_UNAVAILABLE"),
        ({"content": "[[fault: cut after=2]]"}, UpstreamError, "UPSTREAM_STREAM_CUT"),
    ],
)
def test_failures_are_typed(
    client: Client, asked: dict[str, Any], kind: type[Exception], reason: str
) -> None:
    """Each failure is an exception of its own kind, with the reason of the server."""
    with pytest.raises(kind) as failed:
        list(client.execute(**asked))
    error: Any = failed.value
    assert reason == error.reason


def test_a_failure_says_how_far_it_came(client: Client) -> None:
    """What was received agrees with what the exception says was sent."""
    execution = client.execute("[[length: 100]] [[fault: cut after=3]]")
    with pytest.raises(UpstreamError) as failed:
        execution.result()
    assert execution.last_sequence == failed.value.last_sequence > 0


def test_a_deadline_is_kept(client: Client) -> None:
    """A call that takes longer than its timeout is a DeadlineExceededError."""
    with pytest.raises(DeadlineExceededError):
        client.execute("[[fault: stall after=1]]", timeout=0.3).result()


def test_leaving_the_loop_cancels_at_the_server(client: Client, grpc_stub: Any) -> None:
    """A broken-off iteration leaves no stream open behind it."""
    for _ in client.execute("[[length: 200]] [[fault: chunk_delay seconds=0.2]]"):
        break
    waited = threading.Event()
    for _ in range(50):
        if open_streams(client) == 0:
            break
        waited.wait(0.05)
    assert 0 == open_streams(client)


def open_streams(client: Client) -> int:
    """Return how many streams the server has open."""
    request = metrics_pb.GetMonitoringMetricsRequest()
    answer = client.call(client.stubs.metrics.GetMonitoringMetrics, request)
    return int(answer.metrics.open_streams)


def test_close_from_another_thread_ends_the_iteration(client: Client) -> None:
    """Closing an execution ends whoever waits for its next piece."""
    execution = client.execute("[[fault: stall after=1]]")
    threading.Timer(0.3, execution.close).start()
    with pytest.raises(CancelledError):
        execution.result()


def test_models_and_health(client: Client) -> None:
    """The list of models, one of them, and health are a call each."""
    names = [model.name for model in client.models.list()]
    assert "models/gemini-3.5-flash" in names
    assert "models/gemini-3.5-flash" == client.models.get("gemini-3.5-flash").name
