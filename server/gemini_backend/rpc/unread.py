"""Requests that take long to read: they are counted first, in slices, and read if that is allowed.

grpc.aio reads requests while everybody else waits, so it is handed the bytes of a large one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from google.protobuf.message import DecodeError

from gemini.backend.v1.execute_service_pb2 import BatchExecuteRequest
from gemini_backend.errors import MalformedMessage
from gemini_backend.processing.message_census import MOST, MOST_OF_BATCH, census
from gemini_backend.processing.slices import Slices

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor
    from google.protobuf.message import Message

    from gemini_backend.call import Call
    from gemini_backend.clock import Clock


@dataclass(frozen=True, slots=True)
class Unread:
    """Stands for a large request; the edge reads it."""

    kind: type[Message]
    data: bytes

    async def read(self, call: Call, clock: Clock) -> Message:
        """Return the message.

        Raises:
            TooManyParts: it has more elements than the server works on.
            MalformedMessage: it is none.
            DeadlinePassed: the call's deadline passed meanwhile.
        """
        most = MOST_OF_BATCH if self.kind is BatchExecuteRequest else MOST
        async with Slices(call, clock) as slices:
            for _ in census(self.data, cast("Descriptor", self.kind.DESCRIPTOR), most):
                await slices.pause()
            await slices.rest()
            try:
                return self.kind.FromString(self.data)
            except DecodeError:
                raise malformed(self.kind.DESCRIPTOR.full_name) from None


def malformed(name: str) -> MalformedMessage:
    """Return the failure of bytes that are no message of a type."""
    return MalformedMessage(
        f"the bytes are not a valid {name}; check that the client's stubs are generated from "
        "gemini.backend.v1 and that its texts are valid UTF-8"
    )
