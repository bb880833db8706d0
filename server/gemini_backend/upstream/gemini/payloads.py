"""The events of a streamed answer, in whatever form the body has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from gemini_backend.errors import AnswerTooLarge, MalformedAnswer
from gemini_backend.upstream.gemini import decode
from gemini_backend.upstream.gemini.error_body import ErrorBody
from gemini_backend.upstream.gemini.sse import EventReader

if TYPE_CHECKING:
    from gemini_backend.upstream.gemini.options import GeminiOptions

_ELEMENTS = msgspec.json.Decoder(list[msgspec.Raw])


class EventPayloads:
    """An event stream, and the bare JSON error that may stand in it."""

    __slots__ = ("_reader",)

    def __init__(self, options: GeminiOptions) -> None:
        """Read one body."""
        self._reader = EventReader(options.max_event_bytes)

    def feed(self, read: bytes) -> list[bytes]:
        """Take one read of the network and return the payloads that it completes.

        Raises:
            AnswerTooLarge: an event is larger than the bound.
            MalformedAnswer: there is something that is no event, nor JSON.
        """
        stray = self._reader.foreign.lstrip()
        if stray and not stray.startswith((b"{", b"[")):
            self._strange()  # now, so that the events before it are not lost
        found = self._reader.feed(read)
        if stray or self._reader.foreign:
            found += self._error()
        return found

    def finish(self) -> list[bytes]:
        """Return what the end of the body completes.

        Raises:
            AnswerTooLarge: an event is larger than the bound.
            MalformedAnswer: there was something, but no event.
        """
        found = self._reader.finish()
        if self._reader.foreign:
            return found + (self._error() or self._strange())
        return found

    def _error(self) -> list[bytes]:
        """Return an error that stands between the events as if it were one of them."""
        body = bytes(self._reader.foreign).strip()
        if not body.endswith((b"}", b"]")) or ErrorBody.parse(200, body) is None:
            return []
        self._reader.foreign.clear()
        found = decode.json_value(body)
        return [msgspec.json.encode(found[0] if isinstance(found, list) else found)]

    def _strange(self) -> list[bytes]:
        msg = (
            f"the model API's event stream holds {len(self._reader.foreign)} bytes that are no "
            "event; try again"
        )
        raise MalformedAnswer(msg)


class ArrayPayloads:
    """One JSON array, or one object, in place of an event stream."""

    __slots__ = ("_body", "_limit")

    def __init__(self, options: GeminiOptions) -> None:
        """Read one body."""
        self._body = bytearray()
        self._limit = options.max_body_bytes

    def feed(self, read: bytes) -> list[bytes]:
        """Take one read of the network; nothing is complete before the end.

        Raises:
            AnswerTooLarge: the body is larger than the bound.
        """
        self._body += read
        if len(self._body) > self._limit:
            msg = (
                f"the answer is larger than {self._limit} bytes; ask for less, or raise "
                "upstream.gemini.max_body_bytes"
            )
            raise AnswerTooLarge(msg)
        return []

    def finish(self) -> list[bytes]:
        """Return the elements of the array, or the one object.

        Raises:
            MalformedAnswer: the body is no JSON.
        """
        body = bytes(self._body).strip()
        if not body.startswith(b"["):
            return [body] if body else []
        try:
            return [bytes(element) for element in _ELEMENTS.decode(body)]
        except msgspec.DecodeError as error:
            msg = f"the model API sent {len(body)} bytes that are no JSON ({error}); try again"
            raise MalformedAnswer(msg) from None
