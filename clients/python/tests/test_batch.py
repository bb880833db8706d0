"""Many executions in one call."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from clients.python.tests.fake_backend import PATIENCE, Failure, Pause
from gemini.backend.v1.content_pb2 import Content, Part
from gemini.backend.v1.execute_service_pb2 import (
    BatchExecuteResponse,
    ExecuteRequest,
    ProcessResponse,
)
from gemini_backend_client import AsyncClient, Client, RateLimitedError, UnavailableError

if TYPE_CHECKING:
    from clients.python.tests.fake_backend import FakeBackend


def good(index: int, text: str) -> BatchExecuteResponse:
    """Return an answer to the item at `index`."""
    answer = ProcessResponse(execution=f"e.{index}")
    answer.candidates.add(content=Content(role="model", parts=[Part(text=text)]))
    return BatchExecuteResponse(index=index, response=answer, execution=f"e.{index}")


def bad(index: int) -> BatchExecuteResponse:
    """Return a refusal of the item at `index`."""
    status = Status(code=8, message="too much")
    for detail in (
        ErrorInfo(reason="UPSTREAM_THROTTLED", domain="gemini.backend"),
        RetryInfo(retry_delay={"seconds": 7}),
    ):
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)
    return BatchExecuteResponse(index=index, error=status)


def test_results_come_with_their_index_and_typed_errors(
    client: Client, backend: FakeBackend
) -> None:
    """An item that failed has the error that a call of its own would have raised."""
    backend.script(good(1, "b"), bad(0))
    whole = ExecuteRequest(prompt="two", model="n")
    first, second = client.batch(["one", whole], concurrency=2, model="m")
    assert (1, "b", None) == (first.index, str(first.answer), first.error)
    assert "e.1" == first.execution_id
    assert (0, None) == (second.index, second.answer)
    assert (RateLimitedError, 7.0) == (type(second.error), second.error.retry_after)
    with pytest.raises(RateLimitedError, match="too much"):
        second.result()
    (request,) = backend.requests
    assert (2, ["m", "n"]) == (request.concurrency, [item.model for item in request.items])


async def test_async_batch(async_client: AsyncClient, backend: FakeBackend) -> None:
    """Under asyncio it is iterated with `async for`."""
    backend.script(good(0, "a"))
    assert ["a"] == [str(one.result()) async for one in async_client.batch(["x"])]


def test_leaving_a_batch_cancels_it(client: Client, backend: FakeBackend) -> None:
    """Breaking out of the loop ends the call at the server."""
    backend.script(good(0, "a"), Pause())
    for _ in client.batch(["x", "y"]):
        break
    assert backend.left.wait(PATIENCE)


def test_a_batch_that_fails_as_a_whole_raises(client: Client, backend: FakeBackend) -> None:
    """What came before the failure has been given."""
    backend.script(good(0, "a"), Failure(grpc.StatusCode.UNAVAILABLE))
    seen = []
    with pytest.raises(UnavailableError):
        seen += [one.index for one in client.batch(["x", "y"])]
    results = client.batch(["x"])
    backend.script(good(0, "a"), Failure(grpc.StatusCode.UNAVAILABLE))
    assert 0 == next(results).index
