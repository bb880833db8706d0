"""What the data of an event are: an object, JSON of another kind, the beginning of it, an error."""

from __future__ import annotations

import msgspec

from gemini_backend.errors import MalformedAnswer
from gemini_backend.upstream.gemini.body import decode

_RAW = msgspec.json.Decoder(msgspec.Raw)


def is_object(data: bytes) -> bool:
    """Say whether this is a JSON object, whole."""
    if not (data.startswith(b"{") and data.endswith(b"}")):
        return False
    try:
        _RAW.decode(data)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def is_json(data: bytes) -> bool:
    """Say whether this is JSON, strict or not."""
    try:
        decode.json_value(data)
    except MalformedAnswer:
        return False
    return True


def is_beginning(data: bytes) -> bool:
    """Say whether this could be strict JSON if it went on."""
    try:
        _RAW.decode(data)
    except msgspec.DecodeError as error:
        return "truncated" in str(error)  # there is nothing else to tell the two by
    except RecursionError:
        pass
    return False


def as_error(data: bytes) -> bytes:
    """Return the data of an event named `error` as Gemini would have written it."""
    try:
        found = decode.json_value(data)
    except MalformedAnswer:
        found = data.decode(errors="replace")
    if isinstance(found, dict) and not {"error", "candidates", "response"} & found.keys():
        return msgspec.json.encode({"error": found})
    return msgspec.json.encode({"error": found}) if isinstance(found, str) else data
