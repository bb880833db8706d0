"""Messages that a client has compressed, unpacked within bounds."""

from __future__ import annotations

import gzip
import os
import zlib
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

from gemini_backend.errors import MessageTooLarge
from gemini_backend.rpc.compressed import (
    BEGINNINGS,
    Unpacking,
    unpacked,
    unpacked_at_once,
    unpacked_size,
)
from gemini_backend.sizes import KIB, MIB
from tests.support.layers.inproc import Details

if TYPE_CHECKING:
    from collections.abc import Callable

PACKED = pytest.mark.parametrize("pack", [gzip.compress, zlib.compress], ids=["gzip", "deflate"])


@PACKED
@pytest.mark.parametrize("size", [0, 1, 64 * KIB, 3 * MIB + 1])
def test_what_was_packed_comes_out(pack: Callable[[bytes], bytes], size: int) -> None:
    """Whatever its size, and however well it was compressed."""
    for data in (b"x" * size, os.urandom(size)):
        packed = pack(data)
        assert packed.startswith(BEGINNINGS)
        assert data == b"".join(unpacked(packed, 4 * MIB))


@PACKED
def test_unpacking_stops_at_the_bound(pack: Callable[[bytes], bytes]) -> None:
    """No more than a piece beyond it is ever unpacked."""
    pieces = unpacked(pack(bytes(64 * MIB)), 2 * MIB)
    sizes = []
    with pytest.raises(OverflowError):
        sizes.extend(map(len, pieces))
    assert sum(sizes) <= 2 * MIB
    assert unpacked_at_once(pack(bytes(1001)), 1000) is None
    assert bytes(1000) == unpacked_at_once(pack(bytes(1000)), 1000)


@PACKED
@pytest.mark.parametrize("damage", [lambda data: data[:-3], lambda data: data + b"more"])
def test_what_is_damaged_is_refused(
    pack: Callable[[bytes], bytes], damage: Callable[[bytes], bytes]
) -> None:
    """Cut short, or with something behind it."""
    with pytest.raises(zlib.error):
        unpacked_at_once(damage(pack(os.urandom(200 * KIB))), MIB)


def test_the_size_is_known_before() -> None:
    """Gzip says it at its end; of deflate it is at most so many times as much."""
    assert 5000 == unpacked_size(gzip.compress(bytes(5000)), MIB, "x")
    assert 1032 * 20 == unpacked_size(b"\x78\x9c" + bytes(18), MIB, "x")
    assert MIB == unpacked_size(b"\x78\x9c" + bytes(MIB), MIB, "x")
    with pytest.raises(MessageTooLarge, match=r"the Request has 2\.0 MiB .* 1 MiB"):
        unpacked_size(gzip.compress(bytes(2 * MIB)), MIB, "Request")


class Server:
    """Takes handlers, and has those for health checks."""

    def __init__(self) -> None:
        """Have none yet."""
        self.handlers: list[grpc.GenericRpcHandler] = []

    def add_generic_rpc_handlers(self, handlers: tuple[grpc.GenericRpcHandler, ...]) -> None:
        """Take them."""
        self.handlers += handlers


@PACKED
def test_services_of_others_are_handed_messages_unpacked(pack: Callable[[bytes], bytes]) -> None:
    """They know nothing of compression; what is damaged is theirs to refuse."""
    server: Any = Server()
    read = health_pb2.HealthCheckRequest.FromString
    methods = {
        "Check": grpc.unary_unary_rpc_method_handler(lambda *_: None, read),
        "Raw": grpc.unary_unary_rpc_method_handler(lambda *_: None),
    }
    unpacking = Unpacking(server)
    unpacking.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("h", methods)])
    unpacking.add_registered_method_handlers("h", {})
    asked = health_pb2.HealthCheckRequest(service="a" * 100)
    found = server.handlers[0].service(Details("/h/Check")).request_deserializer
    assert (asked, asked) == (
        found(pack(asked.SerializeToString())),
        found(asked.SerializeToString()),
    )
    with pytest.raises(Exception, match="parsing"):
        found(pack(asked.SerializeToString())[:-1])
    assert server.handlers[0].service(Details("/h/Raw")).request_deserializer is None
    assert server.handlers[0].service(Details("/h/None")) is None
