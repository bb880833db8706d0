"""The end of an answer's body: by its framing, or by what took its place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gemini_backend.errors import IdleTimeout, ServiceError, StreamCut

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gemini_backend.clock import Clock
    from gemini_backend.upstream.gemini.answer import AnswerStream
    from gemini_backend.upstream.gemini.body import EventReader
    from gemini_backend.upstream.gemini.connection.exchange import Exchange

_SHARE_OF_IDLE = 0.9
_DONE_SECONDS = 1.0


class EndOfBody:
    """Reads a streamed body to its end, and knows afterwards what kind of end that was.

    How long the model may be silent is decided further out, by the events that the caller sees.
    An answer that looks whole is not to fail there for want of an end: so for its end this waits
    nine tenths of that time, counted from the last event. Comments do not make it longer: they
    show that a proxy is alive, not that the model is still at work. Where the server has said
    `[DONE]`, a second is enough, by which the connection can be kept for the next call.

    Attributes:
        read: Returns what has come, however long that takes; empty when nothing more comes.
    """

    __slots__ = ("_clock", "_cut", "_exchange", "_idle", "_silent_since", "read")

    def __init__(self, exchange: Exchange, clock: Clock, idle_seconds: float) -> None:
        """Read the body of `exchange`; `idle_seconds` bounds the silence, 0 does not."""
        self._exchange = exchange
        self.read = exchange.read
        self._clock = clock
        self._idle = idle_seconds
        self._silent_since: float | None = None
        self._cut: ServiceError | None = None

    async def read_within(self, seconds: float) -> bytes:
        """Return what has come, as the exchange's `read` does, within so many seconds.

        Raises:
            StreamCut: the body broke off.
            IdleTimeout: it fell silent.
        """
        try:
            async with self._clock.timeout(seconds):
                return await self.read()
        except TimeoutError:
            raise _silent(self._idle) from None

    def broke_off(self, error: ServiceError, reader: EventReader) -> bool:
        """Say whether a failure to read on may be the end: not in the middle of an event."""
        if not isinstance(error, StreamCut | IdleTimeout):
            return False
        self._cut = error
        return not (reader.under_way or self._exchange.in_mid_chunk)

    def heard(self, events: Sequence[Any]) -> None:
        """Take note of what the caller was given of a read: silence is counted from there."""
        if events:
            self._silent_since = None

    def cut(self, reader: EventReader) -> ServiceError | None:
        """Return the failure that the end was; None where the framing says that it was the end."""
        if reader.half:
            return StreamCut("the answer's stream ended in the middle of an event; retry")
        return self._cut

    def limit(self, answer: AnswerStream) -> float | None:
        """Return how long to wait for what comes next; None where others look after that."""
        if not answer.looks_whole():
            return None
        now = self._clock.now()
        if self._silent_since is None:
            self._silent_since = now
        limits = [_DONE_SECONDS] if answer.done else []
        if self._idle > 0:
            limits.append(self._idle * _SHARE_OF_IDLE)
        return max(0.0, self._silent_since + min(limits) - now) if limits else None


def _silent(seconds: float) -> IdleTimeout:
    return IdleTimeout(
        f"the model API neither continued nor ended the answer's body within {seconds:g} s; set a "
        "longer idle_timeout (default execution.idle_timeout_seconds), or retry"
    )
