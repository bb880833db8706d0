"""No text of the server's own insides reaches a caller, whatever it sends to whichever service.

Covers: rpc/side_services.py
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.rpc.status_pb2 import Status

from tests.support.messages.failures import Failure

if TYPE_CHECKING:
    from tests.support.servers.process import Process

pytestmark = pytest.mark.asyncio(loop_scope="module")

OWN = (
    "Traceback",
    "class '",
    "Exception",
    "Error parsing",
    'File "',
    "Unexpected",
    "0x",
    "DecodeE",
)
GARBAGE = (
    b"\xff\xff\xff\xff",
    b"\x0a\xff\xff\xff\x7f",  # a field that is longer than the message
    b"\x0a\x02\xff\xfe",  # a text that is none
    b"\x1f\x8b garbage",  # gzip
    b"\x78\x9c garbage",  # deflate
)
UNARY = (
    "/grpc.health.v1.Health/Check",
    "/gemini.backend.v1.ExecuteService/Process",
    "/gemini.backend.v1.SessionService/CreateSession",
    "/gemini.backend.v1.ConfigService/UpdateConfig",
    "/gemini.backend.v1.KeyService/CreateApiKey",
    "/nothing/Nothing",
    "/",
    "",
)
STREAM = ("/grpc.health.v1.Health/Watch", "/gemini.backend.v1.ExecuteService/Execute")
MANY = (
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
)
EXPECTED = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
}


async def status_of(call: Any) -> Failure:
    """Return what a call ends with."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return Failure.of(error)
    return Failure(grpc.StatusCode.OK, "", Status())


async def first(call: Any, *requests: bytes) -> Any:
    """Write the requests and read one answer."""
    for one in requests:
        await call.write(one)
    answer = await call.read()
    if answer is grpc.aio.EOF:
        code, details = await call.code(), await call.details()
        raise grpc.aio.AioRpcError(code, await call.trailing_metadata(), (), details)
    return answer


@pytest.mark.parametrize("data", GARBAGE)
async def test_what_cannot_be_read_is_refused_by_its_kind(
    channel: grpc.aio.Channel, data: bytes
) -> None:
    """Bytes that are no message of the method: a typed refusal, which quotes nothing."""
    ends = [await status_of(channel.unary_unary(method)(data, timeout=5)) for method in UNARY]
    ends += [await status_of(first(channel.unary_stream(one)(data, timeout=5))) for one in STREAM]
    ends += [await status_of(first(channel.stream_stream(one)(timeout=5), data)) for one in MANY]
    assert set() == {end.code for end in ends} - EXPECTED
    assert [] == [end.message for end in ends if any(own in end.message for own in OWN)]
    assert all(end.reason for end in ends)


@pytest.mark.parametrize(
    "metadata",
    [
        (("x-bin-bin", b"\xff\x00"),),
        (("grpc-timeout", "99999999999H"),),
        (("authorization", "Bearer "), ("authorization", "Basic eDp5")),
        tuple((f"x-{number}", "y") for number in range(500)),
        (("grpc-previous-rpc-attempts", "-1"),),
        (("traceparent", "00-zz-zz-zz"), ("baggage", "=,=,=")),
    ],
)
async def test_odd_metadata_break_nothing(server: Process, metadata: tuple[Any, ...]) -> None:
    """Metadata that mean nothing are ignored, or refused in words of the contract."""
    async with grpc.aio.insecure_channel(server.grpc) as opened:
        call = opened.unary_unary("/gemini.backend.v1.HealthService/GetHealthStatus")
        ended = await status_of(call(b"", timeout=5, metadata=metadata))
        assert ended.code in {grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT}
        assert [] == [own for own in OWN if own in ended.message]
        assert b"" != await call(b"", timeout=5)
