"""Handlers made from the contract."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.descriptor_pb2 import MethodOptions

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import file_service_pb2
from gemini_backend.api.execute import READ_AS, SERVICE
from gemini_backend.errors import MalformedMessage, MessageTooLarge, NotImplementedYet
from gemini_backend.rpc.contract import SERVICES
from gemini_backend.rpc.handlers import Malformed, handlers_of
from tests.support.layers.inproc import Details, collect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PREFIX = "/gemini.backend.v1.ExecuteService/"


class Servicer:
    """Knows one method."""

    async def Process(self, _call: Any, request: Any) -> Any:  # noqa: N802
        return request


def handler(name: str, service: Any = SERVICE, limit: int = 1000) -> Any:
    """Return one RPC's handler."""
    handlers: Any = handlers_of(service, Servicer(), limit, READ_AS)
    return handlers.service(Details(f"/{service.full_name}/{name}"))


def test_process_reads_an_execute_request() -> None:
    """Process's bytes are read as the message that every layer knows."""
    data = pb.ProcessRequest(prompt="x", labels={"a": "b"}).SerializeToString()
    read = handler("Process").request_deserializer(data)
    assert pb.ExecuteRequest(prompt="x", labels={"a": "b"}) == read


@pytest.mark.parametrize(
    "data",
    [b"\xff\xff\xff", b"\x0a\x02\xff\xfe", b"\x0a\x05ab"],
    ids=["garbage", "invalid UTF-8", "cut short"],
)
def test_unreadable_bytes_become_a_typed_error(data: bytes) -> None:
    """What is no message of the contract is no crash either."""
    read = handler("Execute").request_deserializer(data)
    assert isinstance(read, Malformed)
    assert isinstance(read.error, MalformedMessage)


def test_too_large_a_message_is_refused_with_the_numbers() -> None:
    """A message over the limit says how large it is, what the limit is, and what to do."""
    read = handler("Execute", limit=1024 * 1024).request_deserializer(b"x" * 3 * 1024 * 1024)
    assert isinstance(read.error, MessageTooLarge)
    assert "3.0 MiB" in str(read.error)
    assert "limit is 1 MiB (server.max_message_mb)" in str(read.error)


async def test_an_rpc_that_is_not_there_yet_says_so() -> None:
    """An RPC of the contract without an implementation raises NotImplementedYet."""
    with pytest.raises(NotImplementedYet, match="BatchExecute is in the contract"):
        await collect(handler("BatchExecute").unary_stream(None, None))
    with pytest.raises(NotImplementedYet):
        await handler("Embed").unary_unary(None, None)


async def test_a_client_stream_that_is_not_there_yet_says_so() -> None:
    """A client-streaming RPC without an implementation is refused like any other."""
    upload = file_service_pb2.DESCRIPTOR.services_by_name["FileService"]

    async def nothing() -> AsyncIterator[Any]:
        return
        yield

    with pytest.raises(NotImplementedYet):
        await handler("UploadFile", upload).stream_unary(nothing(), None)


def test_idempotency_is_read_from_the_contract() -> None:
    """What changes nothing may be run again; an execution with a session, or KEEP, may not."""
    methods = {
        f"/{service.full_name}/{method.name}"
        for service in SERVICES
        for method in service.methods
        if method.GetOptions().idempotency_level != MethodOptions.IDEMPOTENCY_UNKNOWN
    }
    assert f"{PREFIX}CountTokens" in methods
    assert f"{PREFIX}Execute" not in methods
    assert "/gemini.backend.v1.SessionService/CreateSession" not in methods


def test_an_answer_that_is_bytes_already_goes_out_as_it_is() -> None:
    """What was serialised once is not read and serialised again."""
    write, answer = handler("Execute").response_serializer, pb.ExecuteResponse(sequence=1)
    data = answer.SerializeToString()
    assert (data, True) == (write(answer), write(data) is data)
