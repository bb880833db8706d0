"""Replaces secrets in texts, JSON values and bytes."""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING, Any

import msgspec

from gemini_backend.masking.forms import forms_of, secrets_in
from gemini_backend.masking.search import Search

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gemini_backend.masking.search import Span

SHOWN = "[key]"
_SHORTEST_KEY = len("AQ.") + 20
# Of Google's keys, and of this server's own, which are too many to be remembered one by one.
_LOOKS_LIKE_A_KEY = re.compile(
    r"AIza[0-9A-Za-z_-]{30,}|\bAQ\.[0-9A-Za-z_-]{20,}|gbk_[0-9A-Za-z]{12}_[0-9A-Za-z]{8,}"
)
# So many are remembered of what comes often, none of more characters.
_MOST_OFTEN, _LONGEST_OFTEN = 1024, 512
_SMALL = {ord(letter): ord(letter.lower()) for letter in map(chr, range(ord("A"), ord("Z") + 1))}


class Mask:
    """Knows secrets, and masks them wherever they appear.

    Masked are, whatever the case of the letters: a secret; its spelling in percent-encoding, in
    JSON and in HTML; base64 in both alphabets, whatever is around it, and hexadecimal; and of a
    secret of 20 characters or more every piece of eight, of base64 twelve, of hexadecimal sixteen.
    Secrets of less than four characters are not.
    """

    def __init__(self) -> None:
        """Know no secret yet."""
        self._known: frozenset[str] = frozenset()
        self._search: Search | None = None
        self._often: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._learning = threading.Lock()

    def remember(self, secrets: Iterable[str]) -> None:
        """Mask these texts from now on; of an address only its password. Any thread may call it."""
        asked = frozenset().union(*(secrets_in(secret) for secret in secrets))
        if asked <= self._known:
            return
        with self._learning:
            new = asked - self._known
            forms = {form for secret in new for form in forms_of(secret)}
            if forms:
                self._search = Search(forms, self._search)
            self._known |= new
            self._often = {}

    def text(self, text: str) -> str:
        """Return the text without secrets."""
        search = self._search
        if search is not None and search.may_find(text.encode(errors="replace").lower()):
            spans = search.spans(_in_small_letters(text))
            if spans:
                text = _without(text, spans)
        if len(text) >= _SHORTEST_KEY and ("AIza" in text or "AQ." in text or "gbk_" in text):
            text = _LOOKS_LIKE_A_KEY.sub(SHOWN, text)
        return text

    def often(self, texts: tuple[str, ...]) -> tuple[str, ...]:
        """Return texts that come again and again, each without secrets; they are searched once.

        To be asked by one thread only.
        """
        known = self._often
        masked = known.get(texts)
        if masked is None:
            masked = tuple(self.text(text) for text in texts)
            if sum(map(len, texts)) <= _LONGEST_OFTEN:
                if len(known) >= _MOST_OFTEN:
                    known.clear()
                known[texts] = masked
        return masked

    def value(self, value: Any) -> Any:
        """Return any JSON value without secrets, names of fields included."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self.value(item) for item in value]
        if isinstance(value, dict):
            return {self.text(key): self.value(item) for key, item in value.items()}
        return value

    def data(self, data: bytes) -> bytes:
        """Return bytes without secrets."""
        found = data.decode("latin-1")
        masked = self.text(found)
        return data if masked is found else masked.encode("latin-1")

    def json_text(self, text: str) -> str:
        r"""Return the text of a JSON value without secrets, which `\\u` escapes do not hide.

        It is the same text if there are none.
        """
        if "\\u" not in text and self.text(text) is text:
            return text
        try:
            value = msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError):
            return self.text(text)
        masked = self.value(value)
        return text if masked == value else msgspec.json.encode(masked).decode()


def _in_small_letters(text: str) -> str:
    """Return the text of the same length with the letters of ASCII in lower case."""
    return text.lower() if text.isascii() else text.translate(_SMALL)


def _without(text: str, spans: list[Span]) -> str:
    kept: list[str] = []
    end = 0
    for start, stop in sorted(spans):
        if start > end or not kept:
            kept += [text[end:start], SHOWN]
        end = max(end, stop)
    return "".join((*kept, text[end:]))
