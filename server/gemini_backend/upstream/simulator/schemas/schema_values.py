"""A value that fits a schema, Gemini's own kind or JSON Schema, in the words of the prompt."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, cast

from gemini_backend.upstream.simulator.schemas.patterns import matching
from gemini_backend.upstream.simulator.schemas.schema_check import check_schema, too_complex

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gemini_backend.upstream.simulator.wire import Json

_NAME = re.compile(r"\b[A-Z][\w'-]*(?:\s+[A-Z][\w'-]*)*")
_FIRST_WORD = re.compile(r"(?:^|(?<=[.!?] ))\s*[\w'-]+")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_QUOTED = re.compile(r"[\"“']([^\"”']{1,80})[\"”']")

# Below this depth only what is required is filled in, so that recursive schemas come to an end.
FULL_DEPTH = 3
MAX_DEPTH = 24
MAX_VALUES = 10_000

_FORMATS = {
    "date-time": "2026-01-15T09:30:00Z",
    "date": "2026-01-15",
    "time": "09:30:00Z",
    "duration": "P1D",
    "email": "someone@example.com",
    "uri": "https://example.com/",
    "url": "https://example.com/",
    "hostname": "example.com",
    "uuid": "3f2b8c1e-5d64-4a7b-9c0d-1e2f3a4b5c6d",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "byte": "c2ltdWxhdGVk",
}


def value_for(schema: object, prompt: str) -> object:
    """A value that ``schema`` accepts, with names and numbers from ``prompt`` where they fit.

    Raises:
        ApiError: 400 if it is no schema, or only a huge value would fit it.
    """
    check_schema(schema)
    return _Filler(schema, prompt).fill(schema, "value", 0)


class _Filler:
    """Walks one schema."""

    def __init__(self, root: object, prompt: str) -> None:
        self._root = root
        self._left = MAX_VALUES
        # The first word of a sentence is capital without being a name.
        rest = _FIRST_WORD.sub("", prompt)
        self._words = [*_QUOTED.findall(prompt), *_NAME.findall(rest)]
        self._numbers = [float(n) for n in _NUMBER.findall(prompt)]

    def fill(self, schema: object, name: str, depth: int, index: int = 0) -> object:
        self._left -= 1
        if self._left < 0:
            raise too_complex()
        if depth > MAX_DEPTH or not isinstance(schema, dict):
            return None if depth > MAX_DEPTH else self._text({}, name, index)
        schema = self._resolved(schema, depth)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return self._choice(schema["enum"], index)
        kind = _kind(schema)
        makers: dict[str, Callable[[], object]] = {
            "object": lambda: self._object(schema, depth),
            "array": lambda: self._array(schema, name, depth),
            "number": lambda: self._number(schema, kind, index),
            "integer": lambda: self._number(schema, kind, index),
            "boolean": lambda: True,
            "null": lambda: None,
        }
        return makers.get(kind, lambda: self._text(schema, name, index))()

    def _resolved(self, schema: Json, depth: int) -> Json:
        for _ in range(MAX_DEPTH):
            if "$ref" in schema:
                rest = {key: item for key, item in schema.items() if key != "$ref"}
                schema = {**self._target(schema["$ref"]), **rest}
            elif "allOf" in schema:
                schema = _merged(schema)
            elif schema.get("anyOf") or schema.get("oneOf"):
                options = schema.get("anyOf") or schema["oneOf"]
                rest = {k: v for k, v in schema.items() if k not in ("anyOf", "oneOf")}
                schema = {**rest, **self._option(options, depth)}
            else:
                break
        return schema

    def _target(self, reference: str) -> Json:
        node: object = self._root
        for step in reference.removeprefix("#").strip("/").split("/"):
            key = step.replace("~1", "/").replace("~0", "~")
            if step:
                node = node.get(key, {}) if isinstance(node, dict) else {}
        return node if isinstance(node, dict) else {}

    def _option(self, options: Sequence[Json], depth: int) -> Json:
        solid = [option for option in options if _kind(option) != "null"] or list(options)
        if depth >= FULL_DEPTH:
            # The simplest one ends a recursion.
            return min(options, key=lambda option: len(str(self._resolved_once(option))))
        return solid[0]

    def _resolved_once(self, schema: Json) -> Json:
        return self._target(schema["$ref"]) if "$ref" in schema else schema

    def _object(self, schema: Json, depth: int) -> Json:
        properties: Json = schema.get("properties", {})
        required = set(schema.get("required", ()))
        order = [n for n in schema.get("propertyOrdering", ()) if n in properties]
        names = order + [name for name in properties if name not in order]
        wanted = [n for n in names if n in required or depth < FULL_DEPTH]
        out = {n: self.fill(properties[n], n, depth + 1, i) for i, n in enumerate(wanted)}
        for name in sorted(required - set(names)):
            out[name] = self._text({}, name, 0)
        return out

    def _array(self, schema: Json, name: str, depth: int) -> list[object]:
        prefix = schema.get("prefixItems", [])
        out = [self.fill(item, name, depth + 1, i) for i, item in enumerate(prefix)]
        low = int(schema.get("minItems", 0))
        size = max(low, 1 if depth < FULL_DEPTH and not prefix else 0)
        size = min(size, int(schema.get("maxItems", size)))
        items = schema.get("items", {})
        out += [self.fill(items, name, depth + 1, i) for i in range(len(out), size)]
        return out

    def _number(self, schema: Json, kind: str, index: int) -> float:
        low = _first(schema, ("minimum", "exclusiveMinimum"), -math.inf)
        high = _first(schema, ("maximum", "exclusiveMaximum"), math.inf)
        step = float(schema.get("multipleOf", 1 if kind == "integer" else 0))
        if "exclusiveMinimum" in schema:
            low += step or min(1.0, (high - low) / 2)
        if "exclusiveMaximum" in schema:
            high -= step or min(1.0, (high - low) / 2)
        wanted = self._numbers[index % len(self._numbers)] if self._numbers else 1.0 + index
        number = min(max(wanted, low), high)
        if step:
            number = math.floor(number / step) * step
            number = number if number >= low else math.ceil(low / step) * step
        return int(number) if kind == "integer" or number.is_integer() else number

    def _choice(self, options: Sequence[object], index: int) -> object:
        for option in options:
            if isinstance(option, str) and any(option.lower() in w.lower() for w in self._words):
                return option
        return options[index % len(options)]

    def _text(self, schema: Json, name: str, index: int) -> str:
        made = matching(schema["pattern"]) if "pattern" in schema else None
        made = made or _FORMATS.get(str(schema.get("format", "")))
        if made is not None:
            return made
        text = self._words[index % len(self._words)] if self._words else f"sample {name}"
        low, high = int(schema.get("minLength", 0)), schema.get("maxLength")
        text = (text + " " + "x" * low)[: max(low, len(text))]
        return text if high is None else text[: int(high)]


def _kind(schema: Json) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((k for k in kind if str(k).lower() != "null"), "null")
    if kind is None:
        shape = {"properties": "object", "items": "array", "prefixItems": "array"}
        kind = next((name for key, name in shape.items() if key in schema), "string")
    return str(kind).lower()


def _first(schema: Json, names: Sequence[str], default: float) -> float:
    """The first of these limits that the schema sets."""
    return next((float(schema[name]) for name in names if schema.get(name) is not None), default)


def _merged(schema: Json) -> Json:
    out = {key: value for key, value in schema.items() if key != "allOf"}
    for part in cast("list[Json]", schema["allOf"]):
        properties = {**out.get("properties", {}), **part.get("properties", {})}
        required = [*out.get("required", ()), *part.get("required", ())]
        out = {**out, **part}
        if properties:
            out["properties"] = properties
        if required:
            out["required"] = required
    return out
