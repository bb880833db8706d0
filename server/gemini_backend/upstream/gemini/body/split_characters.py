"""Texts of one answer that are not Unicode: halves of characters are joined over its pieces.

A program that writes JSON in ASCII has two escapes for each character beyond the first 65,536, and
one that cuts texts by them leaves half a character at the end of one piece and the other half at
the beginning of the next. A half without its other half, and bytes that are not UTF-8, become
U+FFFD, and the caller is warned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gemini_backend.upstream.gemini.body import decode, loose_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gemini_backend.upstream.gemini.translation import Fields, json_to_proto

    Key = tuple[int, bool | str]

_HIGH = range(0xD800, 0xDC00)  # the first halves of pairs
REPLACED = {
    "code": "TEXT_REPLACED",
    "message": (
        "the model API sent text that is not Unicode: half a surrogate pair, or bytes that are "
        "not UTF-8; it was replaced by U+FFFD"
    ),
}
"""The fields of the warning."""


class Texts:
    """Reads the payloads of one answer that are not the usual ones, and mends their texts.

    Attributes:
        pending: First halves at the end of a text, by the text that may go on with the second.
        replaced: Whether U+FFFD was put anywhere.
    """

    __slots__ = ("_halves", "_unmended", "pending", "replaced")

    def __init__(self) -> None:
        """Begin an answer."""
        self.pending: dict[Key, str] = {}
        self.replaced = False
        self._halves = 0  # that were replaced in the payload in hand, and not looked at yet
        self._unmended: list[Any] = []  # the candidates of its answers, as they came

    def read(self, payload: bytes) -> list[json_to_proto.Object]:
        """Return the answers in a payload; `mend` is to be called for each of them, in order.

        Raises:
            MalformedAnswer: it is no JSON, or holds something else.
        """
        self._unmended = []
        try:
            return decode.objects(payload)
        except decode.REFUSED:
            pass
        repaired = loose_json.repaired(payload)
        self.replaced = self.replaced or repaired.replaced
        self._halves = repaired.halves
        if repaired.halves:
            self._unmended = _candidates(repaired.unmended())
        return decode.objects(repaired.text)

    def mend(self, deltas: list[Fields]) -> None:
        """Join the texts of an answer's candidates to those that they go on with."""
        if not (self.pending or self._unmended or self._halves):
            return
        unmended = _objects(self._unmended.pop(0)) if self._unmended else []
        for place, delta in enumerate(deltas):
            index = delta.get("candidate_index") or 0
            parts = _parts(unmended[place]) if place < len(unmended) else []
            for number, part in enumerate(delta.get("parts") or ()):
                self._join(part, parts[number] if number < len(parts) else {}, index)
        if not self._unmended:
            self.replaced = self.replaced or self._halves > 0
            self._halves = 0

    def rest(self) -> list[Fields]:
        """Return U+FFFD in place of each half whose other half has not come, as deltas."""
        left = [key for key in self.pending if isinstance(key[1], bool)]
        self.replaced = self.replaced or bool(self.pending)
        self.pending.clear()
        return [
            {
                "candidate_index": index,
                "parts": [{"text": "\ufffd", "thought": True if thought else None}],
            }
            for index, thought in left
        ]

    def _join(self, part: Fields, unmended: dict[str, Any], index: int) -> None:
        if isinstance(part.get("text"), str):
            key: Key = (index, bool(part.get("thought")))
            found = self._came_as(part["text"], unmended.get("text"))
            part["text"] = self._joined(key, found, goes_on=True)
        call = part.get("function_call") or {}
        pieces = call.get("partial_args") or ()
        whole = unmended.get("functionCall")
        before = _objects(whole.get("partialArgs") if isinstance(whole, dict) else None)
        for number, piece in enumerate(pieces):
            # a call whose arguments come in pieces: those of one argument have the same path
            if "string_value" in piece:
                was = before[number].get("stringValue") if number < len(before) else None
                key = (index, f"{piece.get('json_path')}")
                found = self._came_as(piece["string_value"], was)
                goes_on = bool(piece.get("will_continue"))
                piece["string_value"] = self._joined(key, found, goes_on=goes_on)

    def _came_as(self, mended: str, found: Any) -> str:
        """Return a text as it came, its halves being looked at from now on."""
        if not isinstance(found, str):
            return mended
        self._halves -= loose_json.text(found)[1]
        return found

    def _joined(self, key: Key, found: str, *, goes_on: bool) -> str:
        """Return a text behind the half that it goes on with, without the half at its own end."""
        if not found and goes_on:
            return found
        found = self.pending.pop(key, "") + found
        if goes_on and ord(found[-1]) in _HIGH:
            self.pending[key] = found[-1]
            found = found[:-1]
        whole, count = loose_json.text(found)
        self.replaced = self.replaced or count > 0
        return whole


def _candidates(value: Any) -> list[Any]:
    """Return the candidates of each answer in a payload, out of its wrapping."""
    items = value if isinstance(value, list) else [value]
    return list(_of_answers(items))


def _of_answers(items: list[Any]) -> Iterator[Any]:
    for item in items:
        if isinstance(item, dict):
            inner = item.get("response")
            if isinstance(inner, dict) and "candidates" not in item:
                item = inner  # noqa: PLW2901 - out of its wrapping
            yield item.get("candidates")


def _parts(candidate: dict[str, Any]) -> list[dict[str, Any]]:
    content = candidate.get("content")
    return _objects(content.get("parts")) if isinstance(content, dict) else []


def _objects(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
