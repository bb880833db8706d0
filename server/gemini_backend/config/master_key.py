"""A master key as text: 32 bytes in base64 or hexadecimal digits."""

from __future__ import annotations

import re
from base64 import b64decode

BYTES = 32
_HEXADECIMAL = re.compile(r"[0-9A-Fa-f]{64}")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{43}=?")
# 32 bytes at random have fewer different ones only once in 10^40 keys.
_FEWEST_DIFFERENT = 8
HOW_TO_MAKE = "make one with `openssl rand -base64 32`"


def master_key_bytes(text: str) -> bytes:
    """Return the 32 bytes that a text stands for, in either alphabet of base64 or in hexadecimal.

    Raises:
        ValueError: it stands for none, or for one that is not random; the message names the fix
            and does not quote the text.
    """
    if _HEXADECIMAL.fullmatch(text):
        key = bytes.fromhex(text)
    elif _BASE64.fullmatch(text):
        key = b64decode(text.rstrip("=").translate({45: 43, 95: 47}) + "=")
    else:
        msg = f"is not {BYTES} bytes in base64 or hexadecimal digits; {HOW_TO_MAKE}"
        raise ValueError(msg)
    if len(set(key)) < _FEWEST_DIFFERENT:
        msg = f"is not a random key; {HOW_TO_MAKE}"
        raise ValueError(msg)
    return key
