"""Large requests, which the edge reads."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from typing import Any

import msgspec
import pytest

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import file_service_pb2
from gemini_backend.api.execute import SERVICE
from gemini_backend.errors import (
    DeadlinePassed,
    MalformedMessage,
    MessageTooLarge,
    Overloaded,
    TooManyParts,
)
from gemini_backend.memory import HELD, MemoryBudget, RequestRoom
from gemini_backend.rpc.handlers import Malformed, handlers_of
from gemini_backend.rpc.unread import Unread
from tests.support.clock import FakeClock, settle
from tests.support.layers.inproc import Details
from tests.support.messages.calls import make_call

LARGE = 16 * 1024
LIMIT = 1024 * 1024


def reader(method: str = "Execute", service: object = SERVICE) -> object:
    """Return what reads the requests of a method."""
    handlers = handlers_of(service, object(), LIMIT)  # type: ignore[arg-type]
    name = service.full_name  # type: ignore[attr-defined]
    return handlers.service(Details(f"/{name}/{method}")).request_deserializer  # type: ignore[arg-type, union-attr]


def unread_of(data: bytes) -> Unread:
    """Return what stands for a large request."""
    return Unread(pb.ExecuteRequest, data, LIMIT)


def room(clock: FakeClock, limit: int = 64 * LIMIT) -> RequestRoom:
    """Return the room for large requests."""
    return RequestRoom(MemoryBudget(lambda: limit, clock), clock)


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
    unread = unread_of(made.SerializeToString())
    assert made == (await unread.read(make_call(clock), clock, room(clock))).message


async def test_what_is_no_message_is_refused() -> None:
    """As for any other request, the refusal names the message."""
    clock = FakeClock()
    with pytest.raises(MalformedMessage, match=r"gemini.backend.v1.ExecuteRequest"):
        await unread_of(b"\xff" * LARGE * 2).read(make_call(clock), clock, room(clock))


async def test_too_many_parts_are_refused_before_they_are_read() -> None:
    """65,536 parts are enough for one request; a batch may have four times as many."""
    clock = FakeClock()
    turn = pb.ExecuteRequest(contents=[{"parts": [{}] * 4096}])
    data = turn.SerializeToString() * 16
    call, free = make_call(clock), room(clock)
    assert (
        pb.ExecuteRequest.FromString(data)
        == (await unread_of(data).read(call, clock, free)).message
    )
    more = data + pb.ExecuteRequest(contents=[{"parts": [{}]}]).SerializeToString()
    with pytest.raises(TooManyParts, match="65,536 parts"):
        await unread_of(more).read(call, clock, free)
    batch = pb.BatchExecuteRequest(items=[pb.ExecuteRequest.FromString(data), turn])
    unread = Unread(pb.BatchExecuteRequest, batch.SerializeToString(), LIMIT)
    assert batch == (await unread.read(call, clock, free)).message


async def test_a_deadline_ends_the_reading() -> None:
    """Nothing is read for a caller who has no time left."""
    clock = FakeClock()
    late = msgspec.structs.replace(make_call(clock, deadline=0.0))
    with pytest.raises(DeadlinePassed):
        await unread_of(request(LARGE)).read(late, clock, room(clock))


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress], ids=["gzip", "deflate"])
async def test_a_compressed_request_becomes_the_message(pack: Any) -> None:
    """Small ones at once, large ones in slices; its size is that of the message."""
    clock = FakeClock()
    read: Any = reader()
    small = request(1000)
    assert pb.ExecuteRequest.FromString(small) == read(pack(small))
    large = request(LARGE * 20)
    unread = read(pack(large))
    found = await unread.read(make_call(clock), clock, room(clock))
    assert (pb.ExecuteRequest.FromString(large), len(large)) == (found.message, found.size)


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress], ids=["gzip", "deflate"])
async def test_a_bomb_is_not_unpacked(pack: Any) -> None:
    """What has more than a message may have is refused, and it has held little meanwhile."""
    clock = FakeClock()
    unread = unread_of(pack(request(LIMIT + 100)))
    with pytest.raises(MessageTooLarge, match=r"limit is 1 MiB \(server.max_message_mb\)"):
        await unread.read(make_call(clock), clock, room(clock))


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress], ids=["gzip", "deflate"])
async def test_damaged_compression_is_refused(pack: Any) -> None:
    """Cut short, or with something behind it."""
    clock = FakeClock()
    for damaged in (pack(request(LARGE * 2))[:-10], pack(request(LARGE * 2)) + b"x"):
        with pytest.raises((MalformedMessage, MessageTooLarge)):
            await unread_of(damaged).read(make_call(clock), clock, room(clock))
    assert Malformed is type(reader()(pack(request(500))[:-5]))  # type: ignore[operator]


async def test_work_on_large_requests_waits_for_room() -> None:
    """What a request takes is held from then on, and released where it cannot be read."""
    clock = FakeClock()
    budget = MemoryBudget(lambda: LIMIT, clock)
    free = RequestRoom(budget, clock)
    read = await unread_of(request(LARGE * 4)).read(make_call(clock), clock, free)
    assert (read.hold, LARGE * 18, LARGE * 18) == (HELD.get(), read.hold.bytes, budget.used)
    with pytest.raises(MalformedMessage):
        await unread_of(b"\xff" * LARGE * 4).read(make_call(clock), clock, free)
    assert LARGE * 18 == budget.used
    late = make_call(clock, deadline=1.0)
    waiting = asyncio.create_task(unread_of(request(LARGE * 30)).read(late, clock, free))
    await settle()
    await clock.advance(1.0)
    with pytest.raises(Overloaded, match=r"server\.max_memory_mb"):
        await waiting
    read.hold.release()
    assert 0 == budget.used
