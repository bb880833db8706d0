"""Reads a request as Google's JSON reader does: strict about names, lenient about spelling."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, cast

import msgspec

from gemini_backend.upstream.simulator.errors import bad_request
from gemini_backend.upstream.simulator.requests.fields import ENUMS, SCALARS, Field, fields, snake

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini_backend.upstream.simulator.wire import Json

_PACKAGE = "type.googleapis.com/google.ai.generativelanguage.v1beta"
MAX_VIOLATIONS = 50

Violations = list[tuple[str, str]]


def decode(body: bytes, message: str) -> Json:
    """The request in ``body`` with camelCase names, enums as their names, and lists as lists.

    Args:
        body: The bytes of the request; nothing at all counts as an empty object.
        message: Which message it is, a key of the table in ``fields``.

    Raises:
        ApiError: 400, with Google's wording, if it is no JSON or does not fit the message. All
            violations come at once, up to ``MAX_VIOLATIONS``.
    """
    try:
        raw = msgspec.json.decode(body) if body.strip() else {}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        text = "Invalid JSON payload received. " + _syntax(body, error)
        raise bad_request([("", text)]) from error
    found: Violations = []
    try:
        value = _message(raw, message, "", found)
    except RecursionError as error:
        raise bad_request(
            [("", "Invalid JSON payload received. It is nested too deeply.")]
        ) from error
    if found:
        raise bad_request(found[:MAX_VIOLATIONS])
    return value


def _syntax(body: bytes, error: Exception) -> str:
    if "truncated" in str(error) or not body.strip():
        return "Unexpected end of string. Expected an object key or }."
    snippet = body[:40].decode("utf-8", "replace").replace("\n", " ")
    return f"Unexpected token.\n{snippet}\n^"


def _message(raw: object, message: str, path: str, found: Violations) -> Json:
    if not isinstance(raw, dict):
        found.append((path, _invalid(path, f"{_PACKAGE}.{message}", raw)))
        return {}
    known = fields(message)
    out: Json = {}
    for name, value in raw.items():
        field = known.get(name)
        if field is None:
            where = f" at '{path}'" if path else ""
            text = f'Unknown name "{name}"{where}: Cannot find field.'
            text = f"Invalid JSON payload received. {text}"
            found.append((path, text))
        elif value is not None:
            here = f"{path}.{snake(field.name)}" if path else snake(field.name)
            out[field.name] = _field(value, field, here, found)
    return out


def _field(value: object, field: Field, path: str, found: Violations) -> object:
    if field.mapped:
        if not isinstance(value, dict):
            found.append((path, _invalid(path, "Map", value)))
            return {}
        return {
            key: _one(item, field.type, f"{path}[{index}].value", found)
            for index, (key, item) in enumerate(value.items())
        }
    if field.repeated:
        # Google's reader takes one value where a list is due.
        items = value if isinstance(value, list) else [value]
        return [_one(item, field.type, f"{path}[{i}]", found) for i, item in enumerate(items)]
    return _one(value, field.type, path, found)


def _one(value: object, kind: str, path: str, found: Violations) -> object:
    if kind in ENUMS:
        return _enum(value, kind, path, found)
    if kind not in SCALARS:
        return _message(value, kind, path, found)
    try:
        return _READERS[kind](value)
    except (ValueError, TypeError, binascii.Error):
        found.append((path, _invalid(path, _TYPE_NAMES[kind], value)))
        return None


def _enum(value: object, kind: str, path: str, found: Violations) -> object:
    names = ENUMS[kind]
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(names):
        return names[value]
    if isinstance(value, str) and value.upper() in names:
        return value.upper()
    found.append((path, _invalid(path, f"{_PACKAGE}.{kind}", value)))
    return None


def _invalid(path: str, kind: str, value: object) -> str:
    shown = msgspec.json.encode(value).decode()
    return f"Invalid value at '{path}' ({kind}), {shown[:200]}"


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _float(value: object) -> float:
    if isinstance(value, bool):
        raise TypeError
    return float(cast("float", value))


def _integer(value: object) -> int:
    number = _float(value)
    if not number.is_integer():
        raise ValueError
    return int(number)


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _bytes(value: object) -> str:
    read_bytes(_string(value))
    return _string(value)


def _struct(value: object) -> Json:
    if not isinstance(value, dict):
        raise TypeError
    return value


def read_bytes(text: str) -> bytes:
    """The bytes of a base64 field, standard or URL-safe, padded or not.

    Raises:
        binascii.Error: If it is neither.
    """
    plain = text.rstrip("=").replace("-", "+").replace("_", "/")
    return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)


_READERS: dict[str, Callable[[object], object]] = {
    "string": _string,
    "float": _float,
    "int32": _integer,
    "bool": _boolean,
    "bytes": _bytes,
    "struct": _struct,
    "value": lambda value: value,
}
_TYPE_NAMES = {
    "string": "TYPE_STRING",
    "float": "TYPE_FLOAT",
    "int32": "TYPE_INT32",
    "bool": "TYPE_BOOL",
    "bytes": "TYPE_BYTES",
    "struct": "type.googleapis.com/google.protobuf.Struct",
}
