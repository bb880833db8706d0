"""Base64 as it is met: either alphabet, padded or not."""

from __future__ import annotations

from binascii import Error, a2b_base64, b2a_base64

_TO_STANDARD = bytes.maketrans(b"-_", b"+/")


def bytes_of(text: str) -> bytes | None:
    """Return the bytes of base64 text, None where it is none.

    The bytes are kept, not the text: "-_8" and "+/8=" are the same.
    """
    try:
        data = a2b_base64(text, strict_mode=True)
    except (Error, ValueError):
        return _tolerantly(text)
    # bits that no byte holds would be lost, so such text is not taken for base64
    return data if b2a_base64(data, newline=False) == text.encode() else None


def _tolerantly(text: str) -> bytes | None:
    if not text.isascii() or (("-" in text or "_" in text) and ("+" in text or "/" in text)):
        return None
    standard = text.encode().translate(_TO_STANDARD)
    bare = standard.rstrip(b"=")
    if len(standard) - len(bare) not in {0, -len(bare) % 4}:
        return None
    padded = bare + b"=" * (-len(bare) % 4)
    try:
        data = a2b_base64(padded, strict_mode=True)
    except (Error, ValueError):
        return None
    return data if b2a_base64(data, newline=False) == padded else None
