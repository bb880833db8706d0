"""Large requests, which the edge reads."""

from __future__ import annotations

import msgspec
import pytest

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import file_service_pb2
from gemini_backend.api.execute import SERVICE
from gemini_backend.errors import DeadlinePassed, MalformedMessage, TooManyParts
from gemini_backend.rpc.handlers import Malformed, handlers_of
from gemini_backend.rpc.unread import Unread
from tests.support.clock import FakeClock
from tests.support.layers.inproc import Details
from tests.support.messages.calls import make_call

LARGE = 16 * 1024
LIMIT = 1024 * 1024


def reader(method: str = "Execute", service: object = SERVICE) -> object:
    """Return what reads the requests of a method."""
    handlers = handlers_of(service, object(), LIMIT)  # type: ignore[arg-type]
    name = service.full_name  # type: ignore[attr-defined]
    return handlers.service(Details(f"/{name}/{method}")).request_deserializer  # type: ignore[arg-type, union-attr]


def request(size: int) -> bytes:
    """Return a request of so many bytes."""
    made = pb.ExecuteRequest(prompt="x" * (size - 100))
    made.prompt += "x" * (size - made.ByteSize())
    return made.SerializeToString()


@pytest.mark.parametrize(
    ("size", "kind"),
    [(LARGE, pb.ExecuteRequest), (LARGE + 1, Unread), (LIMIT, Unread), (LIMIT + 1, Malformed)],
)
def test_what_is_large_is_left_unread(size: int, kind: type) -> None:
    """Small requests are read by gRPC at once, and nothing is read that is too large."""
    read: object = reader()(request(size))  # type: ignore[operator]
    assert kind is type(read)


def test_messages_of_a_stream_are_read_at_once() -> None:
    """The edge sees only the stream of them."""
    service = file_service_pb2.DESCRIPTOR.services_by_name["FileService"]
    read = reader("UploadFile", service)
    data = file_service_pb2.UploadFileRequest(data=b"x" * LARGE * 2).SerializeToString()
    assert file_service_pb2.UploadFileRequest is type(read(data))  # type: ignore[operator]


async def test_it_becomes_the_message() -> None:
    """What was left unread is read to the byte."""
    clock = FakeClock()
    made = pb.ExecuteRequest(prompt="é" * LARGE, extra={"a": [1, {"b": None}]})
    unread = Unread(pb.ExecuteRequest, made.SerializeToString())
    assert made == await unread.read(make_call(clock), clock)


async def test_what_is_no_message_is_refused() -> None:
    """As for any other request, the refusal names the message."""
    clock = FakeClock()
    with pytest.raises(MalformedMessage, match=r"gemini.backend.v1.ExecuteRequest"):
        await Unread(pb.ExecuteRequest, b"\xff" * LARGE * 2).read(make_call(clock), clock)


async def test_too_many_parts_are_refused_before_they_are_read() -> None:
    """65,536 parts are enough for one request; a batch may have four times as many."""
    clock = FakeClock()
    turn = pb.ExecuteRequest(contents=[{"parts": [{}] * 4096}])
    data = turn.SerializeToString() * 16
    assert 16 == len((await Unread(pb.ExecuteRequest, data).read(make_call(clock), clock)).contents)  # type: ignore[attr-defined]
    more = data + pb.ExecuteRequest(contents=[{"parts": [{}]}]).SerializeToString()
    with pytest.raises(TooManyParts, match="65,536 parts"):
        await Unread(pb.ExecuteRequest, more).read(make_call(clock), clock)
    batch = pb.BatchExecuteRequest(items=[pb.ExecuteRequest.FromString(data), turn])
    read = await Unread(pb.BatchExecuteRequest, batch.SerializeToString()).read(
        make_call(clock), clock
    )
    assert batch == read


async def test_a_deadline_ends_the_reading() -> None:
    """Nothing is read for a caller who has no time left."""
    clock = FakeClock()
    late = msgspec.structs.replace(make_call(clock, deadline=0.0))
    with pytest.raises(DeadlinePassed):
        await Unread(pb.ExecuteRequest, request(LARGE)).read(late, clock)
