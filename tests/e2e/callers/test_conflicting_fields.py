"""Fields that exclude each other are refused by name, on every way into the server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import pytest

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import session_service_pb2 as sessions
from gemini.backend.v1 import session_service_pb2_grpc as sessions_rpc
from tests.support.layers.inproc import collect
from tests.support.messages.failures import failure_of

if TYPE_CHECKING:
    from tests.support.messages.failures import Failure

pytestmark = pytest.mark.asyncio(loop_scope="module")

INVALID = grpc.StatusCode.INVALID_ARGUMENT
REFUSED = "CALLER_INVALID_REQUEST"
HATE = 8
CONFLICTS: dict[str, tuple[dict[str, Any], str]] = {
    "half a position": (
        {"tool_config": {"retrieval_config": {"latitude": 1}}},
        "latitude and longitude",
    ),
    "two voices": (
        {"generation_config": {"speech_config": {"voice_name": "A", "custom_voice": "B"}}},
        "voice_name, custom_voice",
    ),
    "drain without DRAIN": ({"on_disconnect": {"drain_max_tokens": 1}}, "drain_max_tokens"),
    "grace with CANCEL": (
        {"on_disconnect": {"mode": 1, "grace_period": {"seconds": 1}}},
        "grace_period",
    ),
    "an enum and its twin": (
        {"service_tier": 1, "service_tier_raw": "x"},
        "service_tier, service_tier_raw",
    ),
    "a category and its twin": (
        {"safety_settings": [{"category": HATE, "category_raw": "X"}]},
        "category, category_raw",
    ),
    "a blank prompt": ({"prompt": " \n"}, "is blank"),
}


async def refusals(stub: Any, fields: dict[str, Any]) -> list[Failure]:
    """Return the status of a stream, a whole answer and an item of a batch with these fields."""
    request = pb.ExecuteRequest(**{"prompt": "hi", **fields})
    whole = pb.ProcessRequest.FromString(request.SerializeToString())
    return [await failure_of(collect(stub.Execute(request))), await failure_of(stub.Process(whole))]


@pytest.mark.parametrize("case", CONFLICTS)
async def test_what_excludes_each_other_is_named(stub: Any, case: str) -> None:
    """Streams, whole answers and items of batches are refused alike, before anything is paid."""
    fields, words = CONFLICTS[case]
    for failed in await refusals(stub, fields):
        assert (INVALID, REFUSED, True) == (failed.code, failed.reason, words in failed.message)
    item = pb.ExecuteRequest(**{"prompt": "hi", **fields})
    (result,) = await collect(stub.BatchExecute(pb.BatchExecuteRequest(items=[item])))
    assert (INVALID.value[0], True) == (result.error.code, words in result.error.message)


async def test_resume_names_each_other_field(stub: Any) -> None:
    """A resumed execution goes on as it began: a field that would be ignored is refused."""
    resume = pb.Resume(execution="executions/e")
    request = pb.ExecuteRequest(resume=resume, model="m", session="sessions/s", request_id="r")
    failed = await failure_of(collect(stub.Execute(request)))
    assert (INVALID, REFUSED) == (failed.code, failed.reason)
    for field in ("model", "session", "request_id"):
        assert f"{field}: cannot be set with resume" in failed.message


async def test_a_blank_prompt_is_not_counted_and_has_no_vector(stub: Any) -> None:
    """The rule for prompts holds wherever one is sent."""
    for call in (
        stub.CountTokens(pb.CountTokensRequest(prompt="\t")),
        stub.Embed(pb.EmbedRequest(contents=[{"parts": [{"text": " "}]}])),
    ):
        failed = await failure_of(call)
        assert (INVALID, REFUSED, True) == (failed.code, failed.reason, "blank" in failed.message)


@pytest.mark.parametrize("name", ["..", ".", "a/b", "%2e%2e", "a\n"])
async def test_an_id_is_no_path(stub: Any, channel: grpc.aio.Channel, name: str) -> None:
    """Such a session is neither created nor looked for."""
    service = sessions_rpc.SessionServiceStub(channel)
    for call in (
        service.CreateSession(sessions.CreateSessionRequest(session_id=name)),
        service.GetSession(sessions.GetSessionRequest(name=f"sessions/{name}")),
        stub.Process(pb.ProcessRequest(prompt="hi", session=f"sessions/{name}")),
    ):
        failed = await failure_of(call)
        assert (INVALID, REFUSED) == (failed.code, failed.reason)
