"""Fields that refuse values outside of what their annotations allow.

`Annotated[int, msgspec.Meta(ge=1, le=10)]` or a `Literal` says it once: for the loader of the
configuration, for its reference, and for whoever makes the object by hand.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_origin, get_type_hints

import msgspec
from msgspec import inspect

if TYPE_CHECKING:
    from collections.abc import Mapping

Cls = TypeVar("Cls", bound=type)

# bool comes first: it is an int as well.
_KINDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (bool, "true or false"),
    (int, "a whole number"),
    (float, "a number"),
    (str, "a text"),
    ((list, tuple), "a list"),
    (dict, "a table"),
)


class WrongValue(ValueError):
    """A field was given a value that it does not allow.

    Attributes:
        field: The field's name.
        value: What it was given.
        expected: What it allows, in words: "a whole number from 1 to 10".
    """

    def __init__(self, owner: str, field: str, value: object, expected: str) -> None:
        """Say whose field it is, what it was given, and what it allows."""
        super().__init__(f"{owner}.{field} is {value!r:.80} and must be {expected}; change it")
        self.field = field
        self.value = value
        self.expected = expected


def check_fields(options: Any) -> None:
    """Check each field whose annotation says what it allows.

    Raises:
        WrongValue: a value is of the wrong type, or outside its range.
    """
    cls = type(options)
    for name, kind in _annotated(cls).items():  # type: ignore[arg-type] # a class can be hashed
        value = getattr(options, name)
        try:
            msgspec.convert(value, kind, dec_hook=_as_it_is)
        except msgspec.ValidationError:
            raise _wrong(cls.__name__, name, value, inspect.type_info(kind)) from None


def checked(cls: Cls) -> Cls:
    """Have a dataclass check its fields when it is made; goes below `@dataclass`."""
    cls.__post_init__ = check_fields  # type: ignore[attr-defined] # dataclass calls it
    return cls


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
            words = "one of " + ", ".join(str(value) or '""' for value in shape.values)
        case inspect.StrType(pattern=str(pattern)):
            words = f"a text that matches {pattern}"
        case inspect.StrType(max_length=int(most)):
            words = f"a text of {shape.min_length or 0} to {most} characters"
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


def _wrong(owner: str, field: str, value: object, shape: inspect.Type) -> WrongValue:
    shape = shape.type if isinstance(shape, inspect.Metadata) else shape
    item = shape.item_type if isinstance(shape, inspect.VarTupleType) else shape
    if isinstance(item, inspect.CustomType):
        value = kind_of(value)  # what should have been a secret may well be one
    expected = expectation(shape)
    if isinstance(item, inspect.LiteralType) and item is not shape:
        expected = f"a list, each {expectation(item)}"
    return WrongValue(owner, field, value, expected)


@cache
def _annotated(cls: type) -> Mapping[str, Any]:
    """Return the annotations that say what is allowed, by field."""
    hints = get_type_hints(cls, include_extras=True)
    return {name: kind for name, kind in hints.items() if get_origin(kind) in (Annotated, Literal)}


def _as_it_is(kind: type, value: object) -> object:
    """Take what is of a type of ours already, such as a secret."""
    if isinstance(value, kind):
        return value
    msg = f"must be a {kind.__name__}"
    raise msgspec.ValidationError(msg)


def _range(shape: inspect.IntType | inspect.FloatType) -> str:
    low = f"from {shape.ge:,g}" if shape.ge is not None else ""
    low = f"above {shape.gt:,g}" if shape.gt is not None else low
    high = f"to {shape.le:,.12g}" if shape.le is not None else ""
    if low and not high:
        low = low.replace("from", "of at least")
    return "".join(f" {part}" for part in (low, high) if part).replace(",", "")
