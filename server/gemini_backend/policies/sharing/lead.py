"""The only reader of a flight: its own task reads the open stream, and the flight looks on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from gemini_backend.policies.watch import Heir, Step

if TYPE_CHECKING:
    from gemini.backend.v1.execute_service_pb2 import Delta
    from gemini_backend.errors import ServiceError
    from gemini_backend.policies.event_stream import EventStream
    from gemini_backend.policies.sharing.flight import Flight
    from gemini_backend.policies.sharing.following import Following


class Lead(Heir):
    """Notes what is read for those that may join, and parts the stream from its reader for them.

    A reader that waits is interrupted for that, where the stream can be read on afterwards; else it
    is parted before it waits again.
    """

    __slots__ = ("_flight", "_interrupts", "_why", "member", "stream")

    def __init__(self, flight: Flight, stream: EventStream, member: Following) -> None:
        """Look at a stream that a member reads."""
        super().__init__()
        self.stream = stream
        self.member = member
        self._flight = flight
        self._interrupts = False
        self._why: ServiceError | None = None

    def event(self, event: Any, delta: Delta | None, /) -> None:
        """Keep it; whoever waits may go on when it has been handed on."""
        flight = self._flight
        if delta is not None and flight.holds:
            flight.tape.hold(event, None)
        else:
            flight.take(event, delta, given=True)
        if self.claims:
            asyncio.get_running_loop().call_soon(self._free)

    def end(self, error: BaseException | None, /) -> None:
        """The run is over, with its reader or by itself."""
        if self._interrupts and self.reader is not None:
            self.reader.uncancel()
        self._flight.landed(error)

    def can_part(self) -> bool:
        """Say whether the stream can be parted from its reader now."""
        return self.step is Step.OUTSIDE or (self.step is Step.WAITING and self.stream.resumable)

    def part(self) -> None:
        """Part it, where that can be done; a reader that waits is interrupted."""
        if self.step is Step.OUTSIDE:
            self._flight.take_off(self)
        else:
            self._interrupt()

    def stop(self, why: ServiceError) -> asyncio.Task[Any] | None:
        """End the run for `why`; return the reader's task where it is to do so."""
        if self.step is Step.WAITING:
            self._why = why
            self._interrupt()
            return self.reader
        if self.step is Step.OUTSIDE:
            self._flight.take_off(self)
        else:
            self.claims = True
        return None

    def claim(self) -> None:
        """Part it: its reader is just outside."""
        self._flight.take_off(self)

    def left(self) -> None:
        """Its reader leaves: who else is there goes on with it."""
        flight, members = self._flight, self._flight.subscribers.members
        if len(members) > 1 and self.stream.readable and not flight.stopping:
            if self._interrupts and self.reader is not None:
                self.reader.uncancel()
            flight.left(self.member)
            flight.take_off(self, leaves=True)
        elif len(members) <= 1:
            flight.close_doors()

    def interrupted(self) -> BaseException | bool:
        """Take the cancel back; say whether its reader was cancelled for that alone."""
        if not self._interrupts or self.reader is None:
            return False
        self._interrupts = False
        if self.reader.uncancel() > 0:
            return False
        return self._why or True

    def _interrupt(self) -> None:
        if self.reader is not None and not self._interrupts:
            self._interrupts = True
            self.reader.cancel()

    def _free(self) -> None:
        """Part it between two events for those that wait, if its reader is still there."""
        if self.claims and self.step is Step.OUTSIDE and self._flight.leads(self):
            self._flight.take_off(self)
