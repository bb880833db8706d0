"""Messages of the contract into Gemini's JSON, for any message.

A field is written under its name in camel case; `extra` is merged into the object of the message
that it belongs to. An exact twin (`args_json`) is written in place of its field (`args`). The few
messages that Gemini nests in another way stand in `shapes`.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from google.protobuf.descriptor import FieldDescriptor as Field

from gemini_backend.upstream.gemini.translation import json_values
from gemini_backend.upstream.gemini.translation.json_values import refuse
from gemini_backend.upstream.gemini.translation.later import put_off
from gemini_backend.upstream.gemini.translation.names import base_of_json, camel, words_by_number
from gemini_backend.upstream.gemini.translation.shapes import shapes

if TYPE_CHECKING:
    from collections.abc import Callable

    import msgspec
    from google.protobuf.descriptor import Descriptor
    from google.protobuf.message import Message

    Put = Callable[[dict[str, Any], Any, str], None]

_SCHEMA_TEXT = "_json_schema_text"


class _Plan(NamedTuple):
    """How a message is written.

    Attributes:
        puts: What writes each field, by its number.
        twins: The exact twin's name, by the number of the field that has one.
        order: The place of each field among those that the contract declares, by its number; None
            where that is the order of the numbers.
        extras: The numbers of `extra` and its text.
    """

    puts: dict[int, Put]
    twins: dict[int, str]
    order: dict[int, int] | None
    extras: frozenset[int]


def json_object(message: Message, path: str) -> dict[str, Any]:
    """Return the JSON object of a message.

    Args:
        message: Any message of the contract.
        path: Where in the request it stands, for errors.

    Raises:
        InvalidRequest: a field cannot be written: text that is not JSON, a number that JSON does
            not have, an enum value without a name, an `extra` that repeats a field.
    """
    found: dict[str, Any] = {}
    if put_fields(found, message, path):
        merge_extra(found, message, path)
    return found


def put_fields(
    found: dict[str, Any], message: Message, path: str, leave_out: frozenset[str] = frozenset()
) -> bool:
    """Put the fields of a message into an object, but for those to `leave_out`, and its `extra`.

    Returns whether there is an `extra`, or its text.

    Raises:
        InvalidRequest: as `json_object` does.
    """
    puts, twins, order, extras = _plan(message.DESCRIPTOR, leave_out)
    fields = message.ListFields()
    if order is not None and len(fields) > 1:
        fields = sorted(fields, key=lambda pair: order.get(pair[0].number, 0))
    extra = False
    for field, value in fields:
        number = field.number
        put = puts.get(number)
        if put is None:
            extra = extra or number in extras
        elif number not in twins or not getattr(message, twins[number]):
            put(found, value, path)
    return extra


def merge_extra(
    found: dict[str, Any], message: Any, path: str, check: Callable[[str], None] | None = None
) -> None:
    """Add what the contract has no name for: `extra_json`, else `extra`.

    Args:
        found: The JSON object of the message.
        message: A message of the contract that has an `extra`.
        path: Where in the request it stands, for errors.
        check: Raises for a name that is not allowed. Default: for one that is in `found`.

    Raises:
        InvalidRequest: it repeats a field, or cannot be written.
    """
    where = f"{path}.extra" if path else "extra"
    if message.extra_json:
        where += "_json"
        allow = check or _not_in(found, where)
        for key, value in json_values.object_items(message.extra_json, where).items():
            allow(key)
            found[key] = value
    elif message.HasField("extra"):
        allow = check or _not_in(found, where)
        put_off(lambda: json_values.put_fields(found, message.extra, where, allow))


def _not_in(found: dict[str, Any], where: str) -> Callable[[str], None]:
    """Return what refuses a name that a message has, in camel case."""

    def check(key: str) -> None:
        if camel(key) in found:
            raise refuse(where, f"repeats {camel(key)}, which the message sets itself", "extra")

    return check


@cache
def _plan(message: Descriptor, leave_out: frozenset[str]) -> _Plan:
    own = _SHAPES.get(message.name, {})
    names = message.fields_by_name
    puts = {}
    twins = {}
    order: dict[int, int] = {}
    extras: set[int] = set()
    for field in message.fields:
        if field.name in {"extra", "extra_json"}:
            extras.add(field.number)
            continue
        order[field.number] = len(order)
        if field.name in leave_out:
            continue
        base = base_of_json(field.name)
        if base in names:
            twins[names[base].number] = field.name
        puts[field.number] = own.get(field.name) or _put(field)
    numbers = list(order)  # as they are declared
    in_order = numbers == sorted(numbers)
    return _Plan(puts, twins, None if in_order else order, frozenset(extras))


def _put(field: Field) -> Put:
    name, key = field.name, field.camelcase_name
    if name.endswith(_SCHEMA_TEXT):
        return _put_text(name, camel(name.removesuffix("_text")), json_values.schema_text)
    if base_of_json(name):
        exact = json_values.object_text if _is_object(field) else json_values.schema_text
        return _put_text(name, camel(base_of_json(name)), exact)
    if name.endswith("_raw"):
        return _put_plainly(camel(name.removesuffix("_raw")))
    write = _writer(field)
    if write is None:
        return _put_plainly(key)

    def put(found: dict[str, Any], value: Any, path: str) -> None:
        found[key] = write(value, f"{path}.{name}" if path else name)

    return put


def _is_object(field: Field) -> bool:
    """Tell whether a field's text must be that of an object: not where it may be any schema."""
    owner = field.containing_type
    base = None if owner is None else owner.fields_by_name.get(base_of_json(field.name))
    return base is None or base.message_type is None or base.message_type.name != "Value"


def _put_plainly(key: str) -> Put:
    def put(found: dict[str, Any], value: Any, _path: str) -> None:
        found[key] = value

    return put


def _put_text(name: str, key: str, exact: Callable[[str, str], msgspec.Raw]) -> Put:
    def put(found: dict[str, Any], text: str, path: str) -> None:
        found[key] = exact(text, f"{path}.{name}" if path else name)

    return put


def _writer(field: Field) -> Callable[[Any, str], Any] | None:
    """Return what writes a field's value; None where the encoder does (bytes: base64)."""
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return lambda values, _path: dict(values)
    one = _single_writer(field)
    if not field.is_repeated:
        return one
    if one is None:
        return lambda values, _path: list(values)
    return lambda values, path: json_values.plain_list(values, path, one)


def _single_writer(field: Field) -> Callable[[Any, str], Any] | None:
    if field.message_type is not None:
        write: Callable[[Any, str], Any] = json_values.WELL_KNOWN.get(
            field.message_type.full_name, json_object
        )
        return write
    if field.enum_type is not None:
        if field.enum_type.name == "NullValue":
            return lambda _value, _path: None
        return _word_writer(words_by_number(field.enum_type))
    if field.type == Field.TYPE_DOUBLE:
        return json_values.double
    return None


def _word_writer(words: dict[int, str]) -> Callable[[int, str], str]:
    def write(value: int, path: str) -> str:
        word = words.get(value)
        if word is None:
            raise refuse(path, f"is {value}, a value without a name in this contract", "enum")
        return word

    return write


_SHAPES = shapes(json_object)
