"""Messages that a client has compressed: unpacked here, within bounds, not by gRPC's core.

The core unpacks a message as a whole before anybody looks at its size: a few hundred kB may be
gigabytes then. So it is told to hand over what has come (`rpc/server.py`). It does not say which
messages are compressed; a message of the contract never begins like one in gzip, and one that
begins like one in deflate is no whole stream of deflate.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, Final, cast

import grpc

from gemini_backend.errors import MessageTooLarge
from gemini_backend.processing.slices import PIECE
from gemini_backend.sizes import KIB, MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

BEGINNINGS: Final = (b"\x1f\x8b", b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")
"""How a compressed message begins: in gzip, or in one of the levels of deflate."""
_GZIP: Final = BEGINNINGS[0]
_EITHER: Final = 32 + zlib.MAX_WBITS
_BEST_RATIO: Final = 1032  # the most that deflate can save
_INPUT: Final = 64 * KIB
_LONGEST_SIDE_MESSAGE: Final = 4 * MIB


def unpacked_size(data: bytes, max_bytes: int, name: str) -> int:
    """Return about how many bytes a compressed message has unpacked: never fewer than it has.

    Args:
        data: The message, compressed.
        max_bytes: The largest message.
        name: What it is called in messages.

    Raises:
        MessageTooLarge: it says itself that it is larger than `max_bytes`.
    """
    if not data.startswith(_GZIP):
        return min(max_bytes, len(data) * _BEST_RATIO)
    size = int.from_bytes(data[-4:], "little")
    if size > max_bytes:
        raise too_large(name, size, max_bytes)
    return size


def unpacked(data: bytes, max_bytes: int) -> Iterator[bytes]:
    """Yield a compressed message in pieces of at most 1 MiB; stop where it exceeds `max_bytes`.

    Raises:
        zlib.error: it is damaged, or there is more than one message.
        OverflowError: it has more than `max_bytes`.
    """
    machine = zlib.decompressobj(_EITHER)
    view, size = memoryview(data), 0
    for begin in range(0, len(data), _INPUT):
        rest: bytes | memoryview = view[begin : begin + _INPUT]
        while rest and not machine.eof:
            piece = machine.decompress(rest, PIECE)
            rest = machine.unconsumed_tail
            size += len(piece)
            if size > max_bytes:
                raise OverflowError
            yield piece
    while not machine.eof:  # what it had still to give out
        piece = machine.decompress(b"", PIECE)
        if not piece:
            msg = "it is cut short"
            raise zlib.error(msg)
        size += len(piece)
        if size > max_bytes:
            raise OverflowError
        yield piece
    if machine.unused_data:
        msg = "something follows it"
        raise zlib.error(msg)


def unpacked_at_once(data: bytes, max_bytes: int) -> bytes | None:
    """Return a compressed message; None where it has more than `max_bytes`.

    Raises:
        zlib.error: it is damaged.
    """
    try:
        return b"".join(unpacked(data, max_bytes))
    except OverflowError:
        return None


def too_large(name: str, size: int, max_bytes: int) -> MessageTooLarge:
    """Return the refusal of a message of so many bytes."""
    return MessageTooLarge(
        f"the {name} has {size / MIB:.1f} MiB and the limit is {max_bytes / MIB:g} MiB "
        "(server.max_message_mb); send large media as file_data instead of inline_data"
    )


class Unpacking:
    """Stands for a server to which services of others are added: their messages are unpacked."""

    def __init__(self, server: Any) -> None:
        """Add to `server`."""
        self._server = server

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Add handlers that are handed messages as clients have made them."""
        self._server.add_generic_rpc_handlers(tuple(_Unpacked(one) for one in handlers))

    def add_registered_method_handlers(self, _service: str, _handlers: dict[str, Any]) -> None:
        """Do nothing, as grpc.aio's own server does."""


class _Unpacked(grpc.GenericRpcHandler):
    def __init__(self, inner: grpc.GenericRpcHandler) -> None:
        self._inner = inner

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        found: Any = self._inner.service(handler_call_details)
        if found is not None and found.request_deserializer is not None:
            found = found._replace(request_deserializer=_unpacking(found.request_deserializer))
        return cast("grpc.RpcMethodHandler[Any, Any] | None", found)


def _unpacking(read: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    def unpack_and_read(data: bytes) -> Any:
        if data.startswith(BEGINNINGS):
            try:
                found = unpacked_at_once(data, _LONGEST_SIDE_MESSAGE)
            except zlib.error:
                found = data
            return read(b"" if found is None else found)
        return read(data)

    return unpack_and_read
