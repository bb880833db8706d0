"""The forms in which a secret may appear in a text."""

from __future__ import annotations

import html
import json
from base64 import b64encode, urlsafe_b64encode
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

SHORTEST = 4
"""A shorter secret is not masked: it would only blot out words."""

LONG = 20
"""From this length on a secret is a generated one, of which pieces are masked as well."""

_NOTHING = "none"
_PIECE = 8
_ENCODED_PIECE = 12  # of base64: nine bytes
_HEX_PIECE = 16
_SHORTEST_ENCODED = 8
_BYTE_IN_PERCENT = 3
# how many characters of base64 depend on the bytes in front, by how many bytes are in front
_UNSURE = (0, 2, 3)


class Form(NamedTuple):
    """A text in lower case, and the length from which a piece of it gives the secret away."""

    text: str
    piece: int


def secrets_in(text: str) -> Iterator[str]:
    """Yield what is secret in a configured text: all of it, or of an address the password.

    A password is also yielded together with its user, as the header for a proxy has them. The word
    for no proxy is no secret.
    """
    if text.lower() == _NOTHING:
        return
    if "@" not in text and "://" not in text:
        yield text
        return
    try:
        parts = urlsplit(text if "://" in text else f"//{text}")
    except ValueError:
        yield text
        return
    if parts.password:
        yield parts.password
        yield unquote(parts.password)
        yield f"{unquote(parts.username or '')}:{unquote(parts.password)}"


def forms_of(secret: str) -> frozenset[Form]:
    """Return every form of a secret that is looked for; none if it is too short."""
    if len(secret) < SHORTEST:
        return frozenset()
    return frozenset(form for form in _all_forms(secret) if len(form.text) >= form.piece)


def _all_forms(secret: str) -> Iterator[Form]:
    pieces = len(secret) >= LONG
    for text in _spellings(secret):
        yield Form(text.lower(), _PIECE if pieces else len(text))
    data = _bytes(secret)
    percent = "".join(f"%{byte:02x}" for byte in data)
    yield Form(percent, _PIECE * _BYTE_IN_PERCENT if pieces else len(percent))
    for text, piece in (
        (data.hex(), _HEX_PIECE),
        *((one, _ENCODED_PIECE) for one in _base64(data)),
    ):
        if len(text) >= _SHORTEST_ENCODED:
            yield Form(text.lower(), piece if pieces else len(text))


def _spellings(secret: str) -> Iterator[str]:
    yield secret
    yield quote(_bytes(secret), safe="")
    yield "".join(c if c.isascii() and c.isalnum() else quote_all(c) for c in secret)
    yield json.dumps(secret)[1:-1]
    yield html.escape(secret)


def quote_all(text: str) -> str:
    """Return a text with every byte of its UTF-8 percent-encoded."""
    return "".join(f"%{byte:02X}" for byte in _bytes(text))


def _bytes(text: str) -> bytes:
    """Return the bytes of a text; those of an environment or a header may not be UTF-8."""
    try:
        return text.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return text.encode(errors="surrogatepass")


def _base64(data: bytes) -> Iterator[str]:
    """Yield base64 of the secret within any text: what neither neighbour has a part in."""
    for encode in (b64encode, urlsafe_b64encode):
        for before, unsure in enumerate(_UNSURE):
            text = encode(b"\0" * before + data).decode()
            whole = text.rstrip("=")
            yield whole[unsure : len(whole) - (len(whole) != len(text))]
