"""Bytes of an answer into fields: typed where they fit, plain JSON where not."""

from __future__ import annotations

from typing import Any

import msgspec

from gemini_backend.errors import MalformedAnswer
from gemini_backend.upstream.gemini import wire

_TYPED = msgspec.json.Decoder(wire.Answer)
_TEXTS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def answer(body: bytes) -> wire.Answer | dict[str, msgspec.Raw]:
    """Read a whole answer or one event of a stream: typed, or its fields as text.

    Raises:
        MalformedAnswer: it is no JSON, or no object.
    """
    try:
        return _TYPED.decode(body)
    except (msgspec.DecodeError, RecursionError):  # ValidationError is one of the first
        return texts(body)


def texts(body: bytes) -> dict[str, msgspec.Raw]:
    """Read any JSON object; its values stay text.

    Raises:
        MalformedAnswer: it is no JSON, or no object.
    """
    try:
        return _TEXTS.decode(body)
    except (msgspec.DecodeError, RecursionError):
        found = json_object(body)  # says what is wrong
    return {key: msgspec.Raw(msgspec.json.encode(value)) for key, value in found.items()}


def json_object(body: bytes) -> dict[str, Any]:
    """Read any JSON object.

    Raises:
        MalformedAnswer: it is no JSON, or no object.
    """
    value = json_value(body)
    if not isinstance(value, dict):
        msg = f"the model API sent JSON that is no object but a {type(value).__name__}"
        raise MalformedAnswer(msg)
    return value


def json_value(body: bytes) -> Any:
    """Read any JSON.

    Raises:
        MalformedAnswer: it is none.
    """
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        # the decoder's words name a place in the text, never the text itself
        msg = f"the model API sent {len(body)} bytes that are no JSON ({error}); try again"
        too_deep = isinstance(error, RecursionError)
        raise MalformedAnswer(msg).as_lasting(when=too_deep) from None
