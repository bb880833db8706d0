"""Bytes on the wire: JSON, server-sent events, timestamps and opaque identifiers."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from typing import Any, TypeAlias

import msgspec

Json: TypeAlias = dict[str, Any]

JSON_TYPE = "application/json; charset=UTF-8"
SSE_TYPE = "text/event-stream"
EVENT_END = b"\r\n\r\n"

_encoder = msgspec.json.Encoder()
encode = _encoder.encode


def event(payload: object) -> bytes:
    """One server-sent event, framed as Gemini frames it: one line, CRLF, no name, no id."""
    return b"data: " + encode(payload) + EVENT_END


def timestamp(seconds: float) -> str:
    """RFC 3339 in UTC with microseconds, from seconds since the epoch."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def digest(*parts: object) -> bytes:
    """Thirty-two bytes that depend on every part: the one source of 'chance' in answers."""
    state = hashlib.sha256()
    for part in parts:
        raw = part if isinstance(part, bytes) else str(part).encode("utf-8", "surrogatepass")
        state.update(len(raw).to_bytes(8, "big"))
        state.update(raw)
    return state.digest()


def identifier(length: int, *parts: object) -> str:
    """A lower-case identifier of ``length`` characters, like those Gemini gives to resources."""
    number = int.from_bytes(digest(*parts) + digest("more", *parts), "big")
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    out = []
    for _ in range(length):
        number, index = divmod(number, len(letters))
        out.append(letters[index])
    return "".join(out)


def response_id(*parts: object) -> str:
    """Twenty-three URL-safe characters, as ``responseId`` has them."""
    return base64.urlsafe_b64encode(digest(*parts)[:17]).decode().rstrip("=")


def shorten(text: str, limit: int) -> str:
    """At most ``limit`` characters of ``text``, on one line, an ellipsis where it was cut."""
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else flat[: limit - 1].rstrip() + "…"
