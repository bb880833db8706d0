"""A Gemini mock that others wrote, as our upstream: answers, and its faults."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import pytest
import pytest_asyncio

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import execute_service_pb2_grpc as rpc
from tests.support.layers.inproc import collect
from tests.support.messages.failures import failure_of
from tests.support.servers.foreign_mocks import aimock
from tests.support.servers.process import AS_IT_COMES, serving, started, upstream_at

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.asyncio(loop_scope="module")

TEXT = "The river bends twice before it finds the sea, and nobody minds."
UNAVAILABLE, EXHAUSTED = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED
MALFORMED = "UPSTREAM_MALFORMED_ANSWER"


@pytest.fixture(scope="module")
def command() -> list[str]:
    """Build the mock's environment; return the command that runs it."""
    return aimock("aimock.mjs")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mocked(command: list[str]) -> AsyncIterator[Any]:
    """Run the mock, and the server on it; return a stub."""
    async with (
        started(*command) as mock,
        serving(upstream_at(mock.http, **AS_IT_COMES)) as server,
        grpc.aio.insecure_channel(server.grpc) as channel,
    ):
        yield rpc.ExecuteServiceStub(channel)


async def test_an_answer_streams(mocked: Any) -> None:
    """Pieces come in order and are the mock's whole text."""
    events = await collect(mocked.Execute(pb.ExecuteRequest(prompt="plain")))
    kinds = [event.WhichOneof("event") for event in events]
    assert ("started", "completed") == (kinds[0], kinds[-1])
    assert TEXT == "".join(part.text for event in events for part in event.delta.parts)
    assert content.FINISH_REASON_STOP == events[-1].completed.finish_reason


async def test_a_whole_answer(mocked: Any) -> None:
    """Process gives the same text at once."""
    whole = await mocked.Process(pb.ProcessRequest(prompt="plain"))
    assert TEXT == whole.candidates[0].content.parts[0].text
    assert content.FINISH_REASON_STOP == whole.candidates[0].finish_reason


async def test_a_function_call(mocked: Any) -> None:
    """A call that the mock makes comes typed, for both kinds."""
    events = await collect(mocked.Execute(pb.ExecuteRequest(prompt="weather")))
    (streamed,) = [
        part for event in events for part in event.delta.parts if part.HasField("function_call")
    ]
    whole = await mocked.Process(pb.ProcessRequest(prompt="weather"))
    for part in (streamed, whole.candidates[0].content.parts[0]):
        assert "get_weather" == part.function_call.name
        assert {"city": "Paris"} == dict(part.function_call.args)


@pytest.mark.parametrize(
    ("prompt", "code", "reasons"),
    [
        ("drop", UNAVAILABLE, {"UPSTREAM_UNAVAILABLE"}),
        ("malformed", grpc.StatusCode.INTERNAL, {MALFORMED}),
        ("disconnect", UNAVAILABLE, {"UPSTREAM_UNREACHABLE"}),
        ("limited", EXHAUSTED, {"UPSTREAM_THROTTLED"}),
        ("refused", UNAVAILABLE, {"UPSTREAM_UNAVAILABLE"}),
    ],
)
async def test_faults_are_typed(
    mocked: Any, prompt: str, code: grpc.StatusCode, reasons: set[str]
) -> None:
    """Each fault has its code and reason, as a stream and as a whole; then all is well again."""
    answers = (
        collect(mocked.Execute(pb.ExecuteRequest(prompt=prompt))),
        mocked.Process(pb.ProcessRequest(prompt=prompt)),
    )
    for answer in answers:
        failed = await failure_of(answer)
        assert code == failed.code, failed
        assert failed.reason in reasons, failed
    assert (await mocked.Process(pb.ProcessRequest(prompt="plain"))).candidates


@pytest.mark.parametrize("prompt", ["cut", "gone"])
async def test_a_stream_that_breaks_off_is_told(mocked: Any, prompt: str) -> None:
    """A stream that the mock ends in the middle is never passed off as whole."""
    failed = await failure_of(collect(mocked.Execute(pb.ExecuteRequest(prompt=prompt))))
    assert UNAVAILABLE == failed.code
    assert failed.reason in {"UPSTREAM_STREAM_CUT", "UPSTREAM_UNREACHABLE"}


async def test_latency_counts(mocked: Any) -> None:
    """A slow mock is waited for, and the wait shows in the first token's time."""
    events = await collect(mocked.Execute(pb.ExecuteRequest(prompt="slow")))
    assert events[-1].completed.timing.first_token.ToMilliseconds() >= 400
