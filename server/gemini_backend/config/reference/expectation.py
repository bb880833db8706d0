"""What a value must be, in words, for messages and for the reference."""

from __future__ import annotations

from msgspec import inspect

# bool comes first: it is an int as well.
_KINDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (bool, "true or false"),
    (int, "a whole number"),
    (float, "a number"),
    (str, "a text"),
    ((list, tuple), "a list"),
    (dict, "a table"),
)


def expectation(shape: inspect.Type) -> str:
    """Return words for what msgspec would accept: "a whole number from 1 to 1024"."""
    words = "a text"
    match shape:
        case inspect.BoolType():
            words = "true or false"
        case inspect.IntType():
            words = "a whole number" + _range(shape)
        case inspect.FloatType():
            words = "a number" + _range(shape)
        case inspect.LiteralType():
            words = "one of " + ", ".join(str(value) for value in shape.values)
        case inspect.StrType(pattern=str(pattern)):
            words = f"a text that matches {pattern}"
        case inspect.VarTupleType(item_type=inspect.StructType()):
            words = "a list of tables"
        case inspect.VarTupleType():
            words = "a list of texts"
    return words


def kind_of(value: object) -> str:
    """Return words for what a value is; never the value itself, which may be a secret."""
    for kinds, words in _KINDS:
        if isinstance(value, kinds):
            return words
    return f"a {type(value).__name__}"


def _range(shape: inspect.IntType | inspect.FloatType) -> str:
    low = f"from {shape.ge:,g}" if shape.ge is not None else ""
    low = f"above {shape.gt:,g}" if shape.gt is not None else low
    high = f"to {shape.le:,.12g}" if shape.le is not None else ""
    return "".join(f" {part}" for part in (low, high) if part).replace(",", "")
