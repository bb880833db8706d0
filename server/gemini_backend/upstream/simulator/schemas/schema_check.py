"""Whether a schema is one at all, and small enough to be answered by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_backend.upstream.simulator.errors import invalid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_DEPTH = 32
MAX_ITEMS = 1_000
MAX_LENGTH = 10_000

_TOO_COMPLEX = (
    "The specified schema produces a constraint that has too many states for serving. Typical "
    "causes of this error are schemas with lots of text (for example, very long property or enum "
    "names), schemas with long array length limits (especially when nested), or schemas using "
    "complex value matchers (for example, integers or numbers with minimum/maximum bounds or "
    "strings with complex formats like date-time)"
)


def check_schema(schema: object) -> None:
    """Refuses what is no schema, or too large a one.

    Raises:
        ApiError: 400 that names the place.
    """
    _check(schema, "schema", 0)


def too_complex() -> Exception:
    """The 400 for a schema that asks for too much."""
    return invalid(_TOO_COMPLEX)


def _check(schema: object, path: str, depth: int) -> None:
    if isinstance(schema, bool):
        return
    if not isinstance(schema, dict):
        raise invalid(f"Invalid JSON schema: {path} must be an object.")
    if depth > MAX_DEPTH:
        raise invalid(f"Invalid JSON schema: nesting is deeper than {MAX_DEPTH}.")
    for name, value in schema.items():
        if name in _RULES and value is not None and not _RULES[name](value):
            raise invalid(f"Invalid JSON schema: {path}.{name} is not valid.")
        if name in _LIMITS and float(value or 0) > _LIMITS[name]:
            raise too_complex()
        for inner, place in _inner(name, value, path):
            _check(inner, place, depth + 1)


def _inner(name: str, value: object, path: str) -> Iterator[tuple[object, str]]:
    if name in _MAPS and isinstance(value, dict):
        yield from ((inner, f"{path}.{name}.{key}") for key, inner in value.items())
    elif name in _LISTS and isinstance(value, list):
        yield from ((inner, f"{path}.{name}[{i}]") for i, inner in enumerate(value))
    elif name == "items" and value is not None:
        yield value, f"{path}.items"


def _is_type(value: object) -> bool:
    names = value if isinstance(value, list) else [value]
    return bool(names) and all(isinstance(name, str) for name in names)


def _is_number(value: object) -> bool:
    """A number, or one as text, which is how JSON carries 64-bit integers."""
    if isinstance(value, str):
        return value.isdecimal()
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_positive(value: object) -> bool:
    return _is_number(value) and float(str(value)) > 0


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_filled_list(value: object) -> bool:
    return isinstance(value, list) and bool(value)


_MAPS = ("properties", "$defs", "definitions")
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_LIMITS = {"minItems": MAX_ITEMS, "minLength": MAX_LENGTH}
_RULES: dict[str, Callable[[object], bool]] = {
    "type": _is_type,
    "enum": _is_filled_list,
    "required": _is_texts,
    "propertyOrdering": _is_texts,
    "$ref": lambda value: isinstance(value, str),
    "pattern": lambda value: isinstance(value, str),
    "format": lambda value: isinstance(value, str),
    "multipleOf": _is_positive,
    **dict.fromkeys(_MAPS, lambda value: isinstance(value, dict)),
    **dict.fromkeys(_LISTS, _is_filled_list),
    **dict.fromkeys(
        (
            "minItems",
            "maxItems",
            "minLength",
            "maxLength",
            "minimum",
            "maximum",
            "exclusiveMinimum",
            "exclusiveMaximum",
        ),
        _is_number,
    ),
}
