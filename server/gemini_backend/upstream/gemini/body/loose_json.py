"""JSON as other programs write it: what is not quite JSON, or not quite Unicode, is mended.

Only what the strict reader has refused comes here. The text is mended, not what it stands for, so
that all the rest of it stays to the letter. Python's own writer puts `NaN` and `Infinity` where
there is no number; they become texts, as Google's JSON has them. Control characters in texts are
escaped. Texts may hold half a surrogate pair, or come from bytes that are not UTF-8: no message can
carry these, and U+FFFD stands in their place.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any

import msgspec

from gemini_backend.errors import MalformedAnswer

_BOM = b"\xef\xbb\xbf"
_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|-?Infinity|NaN', re.DOTALL)
_UNFIT = re.compile("[\x00-\x1f\ud800-\udfff]")
_SUSPECT = re.compile(_UNFIT.pattern + r"|\\u[dD][89a-fA-F]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_RAW = msgspec.json.Decoder(msgspec.Raw)


@dataclass(frozen=True, slots=True)
class Repaired:
    """JSON that any reader takes.

    Attributes:
        text: The JSON, in UTF-8.
        halves: How many halves of surrogate pairs were replaced in it.
        replaced: Whether bytes that are not UTF-8 were replaced in it.
        original: The text before, halves and all.
    """

    text: bytes
    halves: int
    replaced: bool
    original: str

    def value(self) -> Any:
        """Return what it stands for; a number that no double can hold is its digits, as text."""
        return _DECODER.decode(self.text.decode())

    def unmended(self) -> Any:
        """Return what the original stands for; its texts may hold halves of surrogate pairs."""
        return _DECODER.decode(self.original)


def repaired(body: bytes) -> Repaired:
    """Return the JSON that a body would be, had it been written by the rules.

    Raises:
        MalformedAnswer: it is no JSON.
    """
    data = body.removeprefix(_BOM)
    replaced = False
    try:
        original = data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        original, replaced = data.decode("utf-8", "replace"), True
    halves = 0

    def mend(match: re.Match[str]) -> str:
        nonlocal halves
        token = match[0]
        if not token.startswith('"'):
            return f'"{token}"'
        if not _SUSPECT.search(token):
            return token
        try:
            found, count = text(json.loads(token, strict=False))
        except ValueError:
            return token  # an escape that JSON does not have
        halves += count
        if not count and not _UNFIT.search(token):
            return token
        return json.dumps(found, ensure_ascii=False)

    try:
        mended = _TOKEN.sub(mend, original).encode()
        _RAW.decode(mended)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError) as error:
        # the decoder's words name a place in the text, never the text itself
        too_deep = isinstance(error, RecursionError)
        raise MalformedAnswer(_what(data, error)).as_lasting(when=too_deep) from None
    return Repaired(mended, halves, replaced, original)


def text(found: str) -> tuple[str, int]:
    """Return a text that is Unicode, pairs joined, and how many halves in it were replaced."""
    if not _SURROGATE.search(found):
        return found, 0
    whole = found.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return whole, whole.count("\ufffd") - found.count("\ufffd")


def _what(data: bytes, error: Exception) -> str:
    if data.lstrip().startswith(b"<"):
        return (
            f"the model API sent a web page instead of an answer ({len(data)} bytes of HTML or "
            "XML); retry, and check upstream.gemini.base_url if it persists"
        )
    why = (
        "half a surrogate pair outside of texts" if isinstance(error, UnicodeEncodeError) else error
    )
    return f"the model API sent {len(data)} bytes that are not JSON ({why}); retry"


def _number(digits: str) -> float | str:
    found = float(digits)
    return found if math.isfinite(found) else digits


_DECODER = json.JSONDecoder(strict=False, parse_constant=str, parse_float=_number)
