"""Bytes of an answer into fields: typed where they fit, as text of JSON where not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from gemini_backend.errors import MalformedAnswer
from gemini_backend.upstream.gemini.body import loose_json
from gemini_backend.upstream.gemini.translation import json_to_proto, wire

if TYPE_CHECKING:
    from collections.abc import Sequence

_TYPED = msgspec.json.Decoder(wire.Answer)
_OBJECT = msgspec.json.Decoder(json_to_proto.Object)
_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_NULL = msgspec.Raw(b"null")
_SAYS = frozenset({"candidates", "promptFeedback", "error"})
_ANSWER = _SAYS | {"usageMetadata"}
REFUSED = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
"""What the strict reader raises; a ValidationError is a DecodeError."""


def typed(payload: bytes) -> wire.Answer | None:
    """Read an answer, or one event of a stream, as nearly all of them are; None where it is not."""
    try:
        return _TYPED.decode(payload)
    except REFUSED:
        return None


def typed_all(payloads: Sequence[bytes]) -> list[wire.Answer]:
    """Read the events that come first, up to one that is not as nearly all of them are."""
    answers: list[wire.Answer] = []
    try:
        for payload in payloads:
            answers.append(_TYPED.decode(payload))  # noqa: PERF401 - what was read before is kept
    except REFUSED:
        pass
    return answers


def objects(payload: bytes) -> list[json_to_proto.Object]:
    """Return the answers that strict JSON stands for, each out of its wrapping.

    An array holds an answer in each element, as a stream does that is no event stream; null holds
    nothing. Some servers put each answer under `response`.

    Raises:
        MalformedAnswer: it holds something else.
        msgspec.DecodeError, UnicodeDecodeError, RecursionError: it is not strict JSON in UTF-8.
    """
    payload.decode()  # the texts of JSON that stay text are not looked at otherwise
    array = payload.lstrip().startswith(b"[")
    items = _LIST.decode(payload) if array else [msgspec.Raw(payload.strip())]
    return [_unwrapped(item) for item in items if item != _NULL]


def any_objects(payload: bytes) -> list[json_to_proto.Object]:
    """Return the answers that a payload's JSON stands for, be it strict or not.

    Raises:
        MalformedAnswer: it is no JSON, or holds something else.
    """
    try:
        return objects(payload)
    except REFUSED:
        return objects(loose_json.repaired(payload).text)


def json_value(body: bytes | msgspec.Raw) -> Any:
    """Read any JSON, with tolerance; text that is not Unicode is replaced (see `loose`).

    Raises:
        MalformedAnswer: it is none.
    """
    try:
        return msgspec.json.decode(body)
    except REFUSED:
        return loose_json.repaired(bytes(body)).value()


def plain(found: json_to_proto.Object) -> dict[str, Any]:
    """Return an object with its values read.

    Raises:
        MalformedAnswer: one of them cannot be read.
    """
    return {name: json_value(text) for name, text in found.items()}


def has_error(found: json_to_proto.Object) -> bool:
    """Tell whether an answer is an error; one that is null is none."""
    return found.get("error", _NULL) != _NULL


def _unwrapped(item: msgspec.Raw) -> json_to_proto.Object:
    """Return an answer out of `{"response": ...}`, with what stands beside it.

    Usage may stand beside it, and so may an error or candidates that are null.
    """
    if not json_to_proto.is_object(item):
        kind = type(msgspec.json.decode(item)).__name__
        msg = f"the model API sent JSON that is not an object but a {kind}; retry"
        raise MalformedAnswer(msg)
    value = _OBJECT.decode(item)
    text = value.get("response", _NULL)
    if not json_to_proto.is_object(text) or any(value.get(name, _NULL) != _NULL for name in _SAYS):
        return value
    inner = _OBJECT.decode(text)
    if len(value) > 1 and not _ANSWER & inner.keys():
        return value
    del value["response"]
    return {**value, **inner}
