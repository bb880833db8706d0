"""JSON values that stand in a body by themselves, cut out of it as they arrive."""

from __future__ import annotations

import re

_STRUCTURE = re.compile(rb'["{}\[\]]')
_IN_TEXT = re.compile(rb'["\\]')
_OPENING = b"{["
_SEPARATORS = b" \t\r\n,"


class ValueReader:
    """One JSON object, or the elements of one JSON array.

    An array is not waited for: each element that is an object or an array is handed out when its
    last byte is there. `null` elements are passed over; any other element is handed out as the
    text that it is. Brackets are counted, nothing else is checked.
    """

    __slots__ = ("_base", "_depth", "_escaped", "_in_text", "_limit", "_piece", "done", "overflow")

    def __init__(self, limit: int) -> None:
        """Read one value, whose first byte is the next one; no element is larger than `limit`."""
        self._limit = limit
        self._base = -1  # 1 within an array, 0 where there is one object, -1 before the beginning
        self._depth = 0
        self._in_text = False
        self._escaped = False  # the last byte was a backslash within a text
        self._piece = bytearray()  # the beginning of what has not come to its end
        self.done = False
        self.overflow = False

    def feed(self, read: bytes, at: int, out: list[bytes]) -> int:
        """Take bytes from `at` on, put what they complete into `out`.

        Returns:
            Where the value has ended, or the length of `read`.
        """
        if self._base < 0:
            self._base = self._depth = int(read[at] == ord("["))
            at += self._base
        begin = at
        while not (self.done or self.overflow):
            at = self._next(read, at)
            if at < 0:
                at = len(read)
                break
            byte = read[at - 1]
            if byte in _OPENING:
                if self._depth == self._base:
                    self._between(read[begin : at - 1], out)
                    begin = at - 1
                self._depth += 1
                continue
            self._depth -= 1
            if self._depth == self._base:
                self._hand_out(read[begin:at], out)
                begin = at
                self.done = not self._base
            elif self._depth < self._base:
                self._between(read[begin : at - 1], out)
                begin = at
                self.done = True
        self._piece += read[begin:at]
        self.overflow = self.overflow or len(self._piece) > self._limit
        return at

    def rest(self) -> bytes:
        """Return the beginning of an element that has not come to its end."""
        return bytes(self._piece).strip(_SEPARATORS)

    def _next(self, read: bytes, at: int) -> int:
        """Return the place behind the next bracket outside of texts; -1 where there is none."""
        while at < len(read):
            if self._escaped:
                self._escaped = False
                at += 1
                continue
            match = (_IN_TEXT if self._in_text else _STRUCTURE).search(read, at)
            if match is None:
                break
            at = match.end()
            byte = read[at - 1]
            if byte == ord("\\"):
                self._escaped = True
            elif byte == ord('"'):
                self._in_text = not self._in_text
            else:
                return at
        return -1

    def _between(self, rest: bytes, out: list[bytes]) -> None:
        """Hand out what stands between two elements, and is more than what separates them."""
        found = (bytes(self._piece) + rest).strip(_SEPARATORS)
        self._piece.clear()
        if found not in (b"", b"null"):
            self._hand_out(found, out)

    def _hand_out(self, rest: bytes, out: list[bytes]) -> None:
        found = bytes(self._piece) + rest
        self._piece.clear()
        self.overflow = len(found) > self._limit
        if not self.overflow:
            out.append(found)
