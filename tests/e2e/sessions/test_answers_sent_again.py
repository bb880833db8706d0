"""What a conversation sends back to the model API, byte for byte, after answers of every kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import pytest
import pytest_asyncio

from gemini.backend.v1 import execute_service_pb2 as pb
from tests.support.servers.conversations import Answerer, Desk, answering, create, said
from tests.support.servers.process import serving, upstream_at

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.asyncio(loop_scope="module")
TEXT, SIGNED = {"text": "yes"}, {"text": "", "thoughtSignature": "c2ln"}
THOUGHT, EMPTY = {"text": "hm", "thought": True}, {"thought": True}
PIECE = {"partialArgs": [{"jsonPath": "$.a", "stringValue": "x"}], "willContinue": True}
BEGUN = {"functionCall": {"name": "f", "willContinue": True}}
WHOLE = {"functionCall": {"name": "f", "args": {"a": "x"}}}
TURN, CALL = "SESSION_TURN_NOT_KEPT", "SESSION_CALL_NOT_KEPT"
# What the model says, why it stops; what of it is sent again, and the warning.
CASES: dict[str, tuple[list[Any], str, list[Any], str]] = {
    "other": ([TEXT], "OTHER", [TEXT], ""),
    "language": ([TEXT], "LANGUAGE", [TEXT], ""),
    "too many calls": ([TEXT], "TOO_MANY_TOOL_CALLS", [TEXT], ""),
    "a new reason": ([TEXT], "OUT_OF_IDEAS", [TEXT], ""),
    "blocked": ([TEXT], "SAFETY", [], TURN),
    "malformed": ([TEXT], "MALFORMED_FUNCTION_CALL", [], TURN),
    "thoughts alone": ([THOUGHT], "MAX_TOKENS", [], TURN),
    "empty parts": (
        [{}, TEXT, {"text": ""}, SIGNED, {"thought": True}],
        "STOP",
        [TEXT, SIGNED],
        "",
    ),
    "a call in pieces": (
        [BEGUN, {"text": ""}, {"functionCall": PIECE}, {"functionCall": {}}],
        "STOP",
        [WHOLE],
        "",
    ),
    "half a call": ([TEXT, BEGUN, {"functionCall": PIECE}], "MAX_TOKENS", [TEXT], CALL),
    "half a call alone": ([BEGUN, {"functionCall": PIECE}], "MAX_TOKENS", [], TURN),
    "a call without a name": ([TEXT, {"functionCall": {"args": {}}}], "STOP", [TEXT], CALL),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage() -> AsyncIterator[tuple[Desk, Answerer]]:
    """A server whose model says what it is told to."""
    async with (
        answering() as answerer,
        serving(upstream_at(answerer.url)) as server,
        grpc.aio.insecure_channel(server.grpc) as channel,
    ):
        yield Desk(channel, server, server), answerer


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "stream"])
@pytest.mark.parametrize("case", CASES)
async def test_only_what_the_model_takes_is_sent_again(
    stage: tuple[Desk, Answerer], case: str, whole: bool
) -> None:
    """The next turn brings the answer without what Gemini refuses, or a warning was given."""
    desk, answerer = stage
    parts, reason, expected, code = CASES[case]
    name = await create(desk.sessions, model="m")
    answerer.candidates.append(
        {"content": {"role": "model", "parts": parts}, "finishReason": reason}
    )
    first = await said(desk.execute, pb.ExecuteRequest(prompt="q", session=name), whole=whole)
    ended = first[-1].started if whole else first[-1].completed
    await said(desk.execute, pb.ExecuteRequest(prompt="next", session=name), whole=whole)
    sent = answerer.asked[-1]["contents"]
    turn = [{"role": "user", "parts": [{"text": "q"}]}, {"role": "model", "parts": expected}]
    assert [*(turn if expected else []), {"role": "user", "parts": [{"text": "next"}]}] == sent
    warnings = [one.code for one in ended.warnings if one.code.startswith("SESSION")]
    assert ([code] if code else []) == warnings
