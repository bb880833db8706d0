"""Requests that take long to read: they are counted first, in slices, and read if that is allowed.

grpc.aio reads requests while everybody else waits, so it is handed the bytes of a large one. There
is a budget for what the work on large ones takes (`memory`): they wait for room as bytes.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from google.protobuf.message import DecodeError

from gemini.backend.v1.execute_service_pb2 import BatchExecuteRequest
from gemini_backend.errors import MalformedMessage
from gemini_backend.memory import HELD
from gemini_backend.processing.message_census import MOST, MOST_OF_BATCH, census
from gemini_backend.processing.slices import Slices
from gemini_backend.rpc.compressed import BEGINNINGS, too_large, unpacked, unpacked_size

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor
    from google.protobuf.message import Message

    from gemini_backend.call import Call
    from gemini_backend.clock import Clock
    from gemini_backend.memory import RequestHold, RequestRoom

_AT_WORK: Final = 3.5
"""How many times its size a request takes at most, beside the bytes that gRPC keeps: the message, a
field of it while it is converted, the body for the model API, a third larger by base64."""


class Read(NamedTuple):
    """A large request that has been read; `hold` is what it takes, to be released at its end."""

    message: Message
    size: int
    hold: RequestHold


@dataclass(frozen=True, slots=True)
class Unread:
    """Stands for a large or compressed request; the edge reads it.

    `max_bytes` is the largest request, unpacked.
    """

    kind: type[Message]
    data: bytes
    max_bytes: int

    async def read(self, call: Call, clock: Clock, room: RequestRoom) -> Read:
        """Return the message, once there is room for the work on it.

        Raises:
            MessageTooLarge: it is larger than allowed.
            TooManyParts: it has more elements than the server works on.
            MalformedMessage: it is none.
            DeadlinePassed: the call's deadline passed meanwhile.
            Overloaded: there was no room.
        """
        arrived = size = len(self.data)
        if self._compressed:
            size = unpacked_size(self.data, self.max_bytes, self._name)
        most = arrived + round(_AT_WORK * size)
        hold = await room.enter(call.caller, arrived, most, call.remaining(clock.now()))
        try:
            async with Slices(call, clock) as slices:
                data = await self._unpacked(slices) if self._compressed else self.data
                message = await self._message(data, slices)
        except BaseException:
            hold.release()
            raise
        HELD.set(hold)
        hold.read(arrived + len(data))
        return Read(message, len(data), hold)

    @property
    def _name(self) -> str:
        return self.kind.DESCRIPTOR.full_name

    @property
    def _compressed(self) -> bool:
        return self.data.startswith(BEGINNINGS)

    async def _unpacked(self, slices: Slices) -> bytes:
        """Return the bytes of a compressed message; others as they are."""
        whole = BytesIO()
        try:
            for piece in unpacked(self.data, self.max_bytes):
                whole.write(piece)
                await slices.pause()
        except zlib.error:
            return self.data  # a message, perhaps, that only begins like a compressed one
        except OverflowError:
            raise too_large(self._name, whole.tell(), self.max_bytes) from None
        return whole.getvalue()

    async def _message(self, data: bytes, slices: Slices) -> Message:
        most = MOST_OF_BATCH if self.kind is BatchExecuteRequest else MOST
        for _ in census(data, cast("Descriptor", self.kind.DESCRIPTOR), most):
            await slices.pause()
        await slices.rest()
        try:
            return self.kind.FromString(data)
        except DecodeError:
            raise malformed(self._name) from None


def malformed(name: str) -> MalformedMessage:
    """Return the failure of bytes that are no message of a type."""
    return MalformedMessage(
        f"the bytes are not a valid {name}; check that the client's stubs are generated from "
        "gemini.backend.v1 and that its texts are valid UTF-8"
    )
