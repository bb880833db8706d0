"""Lines that show it when they are changed: JSON that ends with the HMAC of all before it.

The HMAC of an entry covers that of the entry before it as well, so the lines are a chain. It is
computed over the bytes as they are in the file: no other spelling of the same values passes.
"""

from __future__ import annotations

import hmac
from hashlib import sha256
from typing import NamedTuple

import msgspec

from gemini_backend.audit.entry import Entry

MAX_LINE_BYTES = 64 * 1024
"""No line is longer; `entry.py` cuts texts so that none can be."""
GENESIS = bytes(sha256().digest_size)
"""Stands in place of the HMAC before the first entry."""

_MARK, _CLOSE = b',"mac":"', b'"}\n'
_DIGITS = 2 * sha256().digest_size
_TAIL = len(_MARK) + _DIGITS + len(_CLOSE)
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Entry, strict=True).decode


class Sealed(NamedTuple):
    """A line taken apart: what was sealed, and the seal that the line claims."""

    body: bytes
    mac: bytes


class Seal:
    """Makes and checks the HMACs; entries and the head have different keys."""

    def __init__(self, key: bytes) -> None:
        """Derive both from the log's key of 32 bytes."""
        self._entries = hmac.digest(key, b"gemini-backend audit entry", sha256)
        self._head = hmac.digest(key, b"gemini-backend audit head", sha256)

    def entry(self, previous: bytes, body: bytes) -> bytes:
        """Return the HMAC of an entry that follows the one with the HMAC `previous`."""
        return hmac.digest(self._entries, previous + body, sha256)

    def head(self, body: bytes) -> bytes:
        """Return the HMAC of a head."""
        return hmac.digest(self._head, body, sha256)

    def line(self, previous: bytes, entry: Entry) -> tuple[bytes, bytes]:
        """Return the line of an entry, and its HMAC."""
        body = body_of(entry)
        mac = self.entry(previous, body)
        return joined(body, mac), mac


def body_of(value: object) -> bytes:
    """Return the bytes that are sealed: JSON without the brace at its end."""
    return _encode(value)[:-1]


def joined(body: bytes, mac: bytes) -> bytes:
    """Return the line of sealed bytes."""
    return b"".join((body, _MARK, mac.hex().encode(), _CLOSE))


def taken_apart(line: bytes) -> Sealed | None:
    """Return what a line has; None where it does not have the form of one."""
    body, tail = line[:-_TAIL], line[-_TAIL:]
    digits = tail[len(_MARK) : -len(_CLOSE)]
    try:
        mac = bytes.fromhex(digits.decode("ascii"))
    except ValueError:
        return None
    # one spelling only
    return Sealed(body, mac) if line == joined(body, mac) else None


def entry_in(body: bytes) -> Entry | None:
    """Return the entry of sealed bytes; None where they are none."""
    try:
        return _decode(body + b"}")
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
