"""Statuses become typed errors that lose nothing."""

from __future__ import annotations

import pickle
import re
from typing import TYPE_CHECKING

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, Help, QuotaFailure, RetryInfo
from google.rpc.status_pb2 import Status

from clients.python.tests.fake_backend import PATIENCE, STARTED, Failure, Pause, piece
from gemini.backend.v1.content_pb2 import Usage
from gemini.backend.v1.error_details_pb2 import ErrorReason, ExecutionFailure, UpstreamFailure
from gemini_backend_client import (
    AsyncClient,
    BlockedError,
    CancelledError,
    Client,
    ConflictError,
    ContextTooLongError,
    DeadlineExceededError,
    ForbiddenError,
    GeminiBackendError,
    InvalidRequestError,
    MessageTooLargeError,
    NotFoundError,
    PreconditionError,
    QuotaExhaustedError,
    RateLimitedError,
    ServerError,
    UnauthenticatedError,
    UnavailableError,
    UnimplementedError,
    UnknownModelError,
    UpstreamError,
    errors,
)
from gemini_backend_client.connection import status

if TYPE_CHECKING:
    from clients.python.tests.fake_backend import FakeBackend

_Code = grpc.StatusCode


def _info(reason: str, **metadata: str) -> ErrorInfo:
    return ErrorInfo(domain="gemini.backend", reason=reason, metadata=metadata)


def _failure_with_everything() -> Failure:
    return Failure(
        _Code.RESOURCE_EXHAUSTED,
        "wait a little",
        (
            _info("UPSTREAM_THROTTLED", model="m"),
            RetryInfo(retry_delay={"seconds": 45, "nanos": 500_000_000}),
            QuotaFailure(violations=[{"subject": "project", "description": "per minute"}]),
            BadRequest(field_violations=[{"field": "prompt", "description": "too long"}]),
            Help(links=[{"description": "limits", "url": "https://example.org/limits"}]),
            UpstreamFailure(http_status=429, status="RESOURCE_EXHAUSTED", message="slow down"),
            ExecutionFailure(execution="e-9", last_sequence=4, usage=Usage(total_token_count=8)),
        ),
    )


def _check_everything(error: GeminiBackendError) -> None:
    assert isinstance(error, RateLimitedError)
    assert "wait a little" == str(error) == error.message
    assert _Code.RESOURCE_EXHAUSTED is error.code
    assert "UPSTREAM_THROTTLED" == error.reason
    assert {"model": "m"} == error.metadata
    assert 45.5 == error.retry_after
    assert ["project"] == [violation.subject for violation in error.quota_violations]
    assert ["prompt"] == [violation.field for violation in error.violations]
    assert ["https://example.org/limits"] == [link.url for link in error.help_links]
    assert error.upstream is not None
    assert 429 == error.upstream.http_status
    assert error.failure is not None
    assert 4 == error.failure.last_sequence == error.last_sequence
    assert "e-9" == error.execution_id
    assert Usage(total_token_count=8) == error.usage


def test_every_detail_arrives(client: Client, backend: FakeBackend) -> None:
    """All that a status can carry is on the error."""
    backend.script(_failure_with_everything())
    with pytest.raises(GeminiBackendError) as caught:
        client.process("hi")
    _check_everything(caught.value)


async def test_every_detail_arrives_under_asyncio(
    async_client: AsyncClient, backend: FakeBackend
) -> None:
    """Whichever client made the call."""
    for _ in range(2):
        backend.script(_failure_with_everything())
    with pytest.raises(GeminiBackendError) as caught:
        await async_client.process("hi")
    _check_everything(caught.value)
    with pytest.raises(GeminiBackendError) as caught:
        await async_client.execute("hi").result()
    _check_everything(caught.value)


def test_errors_survive_pickling(client: Client, backend: FakeBackend) -> None:
    """An error may cross to another process, as pools send it."""
    backend.script(_failure_with_everything())
    with pytest.raises(GeminiBackendError) as caught:
        client.process("hi")
    _check_everything(pickle.loads(pickle.dumps(caught.value)))


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (_Code.INVALID_ARGUMENT, "CALLER_INVALID_REQUEST", InvalidRequestError),
        (_Code.INVALID_ARGUMENT, "CALLER_CONTEXT_TOO_LONG", ContextTooLongError),
        (_Code.RESOURCE_EXHAUSTED, "CALLER_MESSAGE_TOO_LARGE", MessageTooLargeError),
        (_Code.NOT_FOUND, "CALLER_UNKNOWN_MODEL", UnknownModelError),
        (_Code.NOT_FOUND, "CALLER_UNKNOWN_RESOURCE", NotFoundError),
        (_Code.DEADLINE_EXCEEDED, "CALLER_DEADLINE_TOO_SHORT", DeadlineExceededError),
        (_Code.UNAUTHENTICATED, "CALLER_UNAUTHENTICATED", UnauthenticatedError),
        (_Code.PERMISSION_DENIED, "CALLER_FORBIDDEN", ForbiddenError),
        (_Code.CANCELLED, "CALLER_CANCELLED", CancelledError),
        (_Code.ABORTED, "CALLER_CONFLICT", ConflictError),
        (_Code.FAILED_PRECONDITION, "CALLER_NEEDS_RESTART", PreconditionError),
        (_Code.RESOURCE_EXHAUSTED, "POLICY_RATE_LIMITED", RateLimitedError),
        (_Code.RESOURCE_EXHAUSTED, "POLICY_BUDGET_SPENT", QuotaExhaustedError),
        (_Code.FAILED_PRECONDITION, "POLICY_INJECTION_BLOCKED", BlockedError),
        (_Code.FAILED_PRECONDITION, "UPSTREAM_KEY_REFUSED", UpstreamError),
        (_Code.FAILED_PRECONDITION, "UPSTREAM_ACCOUNT_LIMITED", UpstreamError),
        (_Code.FAILED_PRECONDITION, "UPSTREAM_PROMPT_BLOCKED", BlockedError),
        (_Code.FAILED_PRECONDITION, "UPSTREAM_ANSWER_BLOCKED", BlockedError),
        (_Code.RESOURCE_EXHAUSTED, "UPSTREAM_QUOTA_EXHAUSTED", QuotaExhaustedError),
        (_Code.DEADLINE_EXCEEDED, "UPSTREAM_IDLE_TIMEOUT", DeadlineExceededError),
        (_Code.INTERNAL, "UPSTREAM_MALFORMED_ANSWER", UpstreamError),
        (_Code.CANCELLED, "UPSTREAM_CANCELLED", UpstreamError),
        (_Code.INTERNAL, "BACKEND_UNEXPECTED", ServerError),
        (_Code.UNIMPLEMENTED, "BACKEND_NOT_IMPLEMENTED", UnimplementedError),
        (_Code.FAILED_PRECONDITION, "BACKEND_NO_UPSTREAM_KEY", ServerError),
        (_Code.INVALID_ARGUMENT, "CALLER_NEWER_THAN_THIS_CLIENT", InvalidRequestError),
        (_Code.DATA_LOSS, "", ServerError),
        (_Code.FAILED_PRECONDITION, "", PreconditionError),
        (_Code.RESOURCE_EXHAUSTED, "", RateLimitedError),
        (_Code.CANCELLED, "", CancelledError),
    ],
)
def test_kinds(
    client: Client,
    backend: FakeBackend,
    code: grpc.StatusCode,
    reason: str,
    kind: type[GeminiBackendError],
) -> None:
    """The reason decides the kind, and the code where the reason says no more or is not known."""
    backend.script(Failure(code, "no", (_info(reason),) if reason else ()))
    with pytest.raises(GeminiBackendError) as caught:
        client.execute("hi").result()
    assert kind is type(caught.value)
    assert reason == caught.value.reason


def test_reasons_are_those_of_the_contract() -> None:
    """No kind hangs on a reason that the contract does not have."""
    known = {name.removeprefix("ERROR_REASON_") for name in ErrorReason.keys()}  # noqa: SIM118
    assert set() == set(status._BY_REASON) - known


def test_the_tree_is_drawn_as_it_is() -> None:
    """The drawing in the module's docstring names each class under its parent."""
    parents: dict[int, str] = {}
    drawn = {}
    for line in re.findall(r"^[ │]*(?:[├└]── )?\w+Error\b", errors.__doc__ or "", re.MULTILINE):
        name = line.split()[-1]
        depth = line.index(name)
        above = [seen for seen in parents if seen < depth]
        drawn[name] = parents[max(above)] if above else "Exception"
        parents[depth] = name
    kinds = [getattr(errors, name) for name in errors.__all__ if name.endswith("Error")]
    assert {kind.__name__: kind.__base__.__name__ for kind in kinds} == drawn


def test_other_domains_give_no_reason(client: Client, backend: FakeBackend) -> None:
    """A reason of another system's is not taken for one of ours."""
    foreign = ErrorInfo(domain="proxy.example.org", reason="CALLER_UNKNOWN_MODEL")
    backend.script(Failure(_Code.NOT_FOUND, "no", (foreign,)))
    with pytest.raises(NotFoundError) as caught:
        client.process("hi")
    assert NotFoundError is type(caught.value)
    assert not caught.value.reason


def test_garbage_in_the_details_hides_nothing(client: Client, backend: FakeBackend) -> None:
    """Details that cannot be read leave the status itself standing."""

    class Garbage(Failure):
        def end(self, context: grpc.ServicerContext) -> None:
            context.set_trailing_metadata((("grpc-status-details-bin", b"\xff\xff"),))
            context.abort(self.code, self.message)

    backend.script(Garbage(_Code.NOT_FOUND, "not here"))
    with pytest.raises(NotFoundError, match="not here"):
        client.process("hi")


def test_nobody_there(backend: FakeBackend) -> None:
    """A refused connection names the target and what to check."""
    with (
        Client("127.0.0.1:1", retry=None) as client,
        pytest.raises(UnavailableError, match=r"127\.0\.0\.1:1.*`gemini-backend serve` runs"),
    ):
        client.process("hi")


async def test_nobody_there_under_asyncio() -> None:
    """Under asyncio too, for streams too."""
    async with AsyncClient("127.0.0.1:1", retry=None) as client:
        with pytest.raises(UnavailableError, match="`gemini-backend serve` runs"):
            await client.execute("hi").result()


def test_deadline(client: Client, backend: FakeBackend) -> None:
    """The deadline covers a stream to its end, and the error says how long it was."""
    backend.script(STARTED, piece("one"), Pause())
    with pytest.raises(DeadlineExceededError, match=r"within 0\.3 s.*longer timeout") as caught:
        client.execute("hi", timeout=0.3).result()
    assert 2 == caught.value.last_sequence
    assert backend.left.wait(PATIENCE)


async def test_deadline_under_asyncio(async_client: AsyncClient, backend: FakeBackend) -> None:
    """Under asyncio too."""
    backend.script(Pause())
    with pytest.raises(DeadlineExceededError):
        await async_client.process("hi", timeout=0.3)


def test_no_deadline_only_on_request(client: Client, backend: FakeBackend) -> None:
    """Every call has the client's deadline unless None is asked for."""
    client.process("hi")
    client.process("hi", timeout=None)
    client.process("hi", timeout=5)
    default, unlimited, given = backend.remaining
    assert default is not None
    assert 5 < default <= PATIENCE + 1
    assert unlimited is not None
    assert unlimited > 1e9  # as grpc shows a call without a deadline
    assert given is not None
    assert given <= 6


def test_answers_too_large_for_the_client(backend: FakeBackend) -> None:
    """An answer above the client's bound names the option to raise."""
    options = {"grpc.max_receive_message_length": 4}
    with (
        Client(backend.target, options=options) as client,
        pytest.raises(MessageTooLargeError, match=r"grpc\.max_receive_message_length"),
    ):
        client.process("hi")


def test_a_status_too_large_for_the_client_is_no_rate_limit(backend: FakeBackend) -> None:
    """What is lost for its size is named as that, with the options to raise."""
    backend.script(Failure(_Code.NOT_FOUND, "x" * 20_000))
    with Client(backend.target) as client, pytest.raises(ServerError) as caught:
        client.process("hi")
    assert (_Code.RESOURCE_EXHAUSTED, "") == (caught.value.code, caught.value.reason)
    assert "grpc.max_metadata_size" in str(caught.value)


def test_details_outweigh_a_limit_that_was_met_after_them(
    client: Client, backend: FakeBackend
) -> None:
    """Where gRPC reports its own limit, and the details were read, they say what happened."""
    status = Status(code=_Code.NOT_FOUND.value[0], message="no model of that name")
    status.details.add().Pack(_info("CALLER_UNKNOWN_MODEL"))

    class Replaced(Failure):
        def end(self, context: grpc.ServicerContext) -> None:
            data = status.SerializeToString()
            context.set_trailing_metadata((("grpc-status-details-bin", data),))
            context.abort(self.code, self.message)

    backend.script(Replaced(_Code.RESOURCE_EXHAUSTED, "Stream removed (received metadata size)"))
    with pytest.raises(UnknownModelError) as caught:
        client.process("hi")
    assert (_Code.NOT_FOUND, "no model of that name") == (caught.value.code, str(caught.value))


@pytest.mark.parametrize(
    ("message", "kind", "advice"),
    [
        ("CLIENT: Sent message larger than max (9 vs. 3)", MessageTooLargeError, "send less"),
        ("SERVER: Received message larger than max (9 vs. 3)", MessageTooLargeError, "send less"),
        (
            "received metadata size exceeds hard limit (value length 17000 vs. 16384)",
            InvalidRequestError,
            "less metadata",
        ),
        ("Stream removed (something of gRPC's own)", ServerError, "Stream removed"),
        ("over the proxy's rate limit", RateLimitedError, "rate limit"),
    ],
)
def test_limits_of_grpc_are_no_rate_limits(
    client: Client,
    backend: FakeBackend,
    message: str,
    kind: type[GeminiBackendError],
    advice: str,
) -> None:
    """Without details the words tell gRPC's own limits from others'."""
    backend.script(Failure(_Code.RESOURCE_EXHAUSTED, message))
    with pytest.raises(GeminiBackendError) as caught:
        client.process("hi")
    assert kind is type(caught.value)
    assert advice in str(caught.value)
