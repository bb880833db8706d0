"""A token as text, taken apart: strictly, since each text that is accepted is somebody's.

Nothing in a token is believed here; what it says is checked by others.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gemini_backend.errors import Unauthenticated
from gemini_backend.sizes import KIB

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_CHARACTERS = 16 * KIB
"""The longest token; a longer one is refused before it is read."""
_PARTS = 3
_MAX_KID = 256


@dataclass(frozen=True, slots=True)
class Token:
    """What a token says.

    Attributes:
        algorithm: `alg` of its header.
        kid: `kid` of its header; None where it has none.
        claims: Its payload.
        signed: The text that the signature is of.
        signature: The signature.
    """

    algorithm: str
    kid: str | None
    claims: dict[str, Any]
    signed: bytes
    signature: bytes


def parsed(text: str) -> Token:
    """Return the parts of a signed token in compact form.

    Of the header only `alg` and `kid` are read: keys and addresses of keys in it mean nothing.

    Raises:
        Unauthenticated: it is longer than `MAX_CHARACTERS`, no signed JWT, one with a name twice in
            its header or payload, or one that demands an extension (`crit`, `b64`).
    """
    if len(text) > MAX_CHARACTERS:
        msg = f"the token is longer than {MAX_CHARACTERS} characters; ask for one with fewer claims"
        raise Unauthenticated(msg)
    if not text.isascii() or text.count(".") != _PARTS - 1:
        raise malformed("it does not consist of three parts of base64url, with dots between them")
    head, body, end = text.split(".")
    header = _object(head, "header")
    if "crit" in header or "b64" in header:
        msg = "the token demands an extension (crit or b64), and none is supported"
        raise Unauthenticated(msg)
    algorithm, kid = header.get("alg"), header.get("kid")
    if type(algorithm) is not str:
        raise malformed("its header has no alg")
    if not (kid is None or (type(kid) is str and len(kid) <= _MAX_KID)):
        raise malformed(f"its kid is not a text of at most {_MAX_KID} characters")
    signed = f"{head}.{body}".encode()
    return Token(algorithm, kid, _object(body, "payload"), signed, _bytes(end, "signature"))


def malformed(why: str) -> Unauthenticated:
    """Return the error for a text that is not a token."""
    return Unauthenticated(f"the token is not a signed JWT: {why}; send it as the issuer gave it")


def _bytes(text: str, what: str) -> bytes:
    """Return the bytes of base64url without padding, in the only text that they have."""
    try:
        decoded = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        raise malformed(f"its {what} is not base64url") from None
    if base64.urlsafe_b64encode(decoded).rstrip(b"=") != text.encode():
        raise malformed(f"its {what} is not base64url")
    return decoded


def _object(text: str, what: str) -> dict[str, Any]:
    try:
        found = json.loads(
            _bytes(text, what).decode(), object_pairs_hook=_unique, parse_constant=_no_number
        )
    except (ValueError, RecursionError):
        raise malformed(f"its {what} is not JSON, has a name twice, or nests too deep") from None
    if not isinstance(found, dict):
        raise malformed(f"its {what} is not a JSON object")
    return found


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object; with a name twice, different readers would see different claims."""
    found = dict(pairs)
    if len(found) != len(pairs):
        msg = "a name is there twice"
        raise ValueError(msg)
    return found


def _no_number(text: str) -> float:
    msg = f"{text} is not JSON"
    raise ValueError(msg)
