"""Gemini's JSON into fields of the contract, for any message, without losing anything.

One rule does it all: a field of the contract takes the JSON field of the same name in camel case if
it can hold the value so that the JSON could be written again; everything else goes, as it came,
into the `extra` of the message that it belongs to. A field with an exact twin (`args`, `args_json`)
is given the text as well.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from gemini_backend import masking
from gemini_backend.errors import MalformedAnswer
from gemini_backend.upstream.gemini.translation import free_json, scalars, wire
from gemini_backend.upstream.gemini.translation.metadata import is_answer, masked
from gemini_backend.upstream.gemini.translation.names import base_of_json, numbers_by_word
from gemini_backend.upstream.gemini.translation.scalars import UNFIT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from google.protobuf.descriptor import Descriptor
    from google.protobuf.descriptor import FieldDescriptor as Field

    Read = Callable[[msgspec.Raw], Any]

Json = bytes | msgspec.Raw
Object = dict[str, msgspec.Raw]
"""A JSON object whose values are still text."""

_OBJECT = msgspec.json.Decoder(Object)
_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_NULL = b"null"
_GOOGLE = "google.protobuf"
_PARTS = "gemini.backend.v1.Content.parts"
_NULL_WORD = b'"NULL_VALUE"'  # the same, where the writer of JSON names its enums

# fields that the contract has for itself, whatever Gemini may call by the same name
_OWN: Mapping[str, frozenset[str]] = {
    "Usage": frozenset({"quality"}),
    "CountTokensResponse": frozenset({"method", "model"}),
    "Part": frozenset({"blob_chunk"}),
    "EmbedResponse": frozenset({"embeddings", "model", "usage", "cost"}),
    "Embedding": frozenset({"values"}),
    "Delta": frozenset(
        {"candidate_index", "parts", "role", "usage", "upstream_event", "model_version"}
        | {"response_extra"}
    ),
}


class _Slot(NamedTuple):
    """Where a JSON field goes: the field's name, what reads it, its twins, what excludes it.

    `mask` masks secrets in a word that goes into the twin.
    """

    name: str
    read: Read
    raw: str | None
    exact: str | None
    null: bool
    rivals: tuple[str, ...]
    mask: Callable[[str], str]


def object_of(text: Json) -> Object:
    """Return a JSON object, its values as text.

    Raises:
        MalformedAnswer: it is none.
    """
    try:
        return _OBJECT.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        # the decoder's words name a place in the text, never the text itself
        msg = f"the model API sent data that is not a JSON object ({error}); retry"
        too_deep = isinstance(error, RecursionError)
        raise MalformedAnswer(msg).as_lasting(when=too_deep) from None


def list_of(text: Json) -> list[msgspec.Raw] | None:
    """Return the items of a JSON array as text; None where it is none."""
    try:
        return _LIST.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None


def objects_of(text: Json) -> list[msgspec.Raw]:
    """Return the items of a JSON array of objects as text; none where there is anything else.

    A null among them says nothing and is left out.
    """
    found = _said_of(text)
    return found if all(is_object(item) for item in found) else []


def _said_of(text: Json) -> list[msgspec.Raw]:
    return [item for item in list_of(text) or () if bytes(item) != _NULL]


def _parts_of(text: Json) -> list[msgspec.Raw]:
    found = _said_of(text)
    if len(found) > wire.MOST_PARTS:
        raise MalformedAnswer(
            f"the model API sent more than {wire.MOST_PARTS} parts at once; retry"
        )
    return found


def is_object(text: Json) -> bool:
    """Tell whether valid JSON text is that of an object."""
    return bytes(memoryview(text)[:1]) == b"{"


def fields(message: Descriptor, value: Json | Object) -> dict[str, Any]:
    """Return the keyword arguments that make the message out of a JSON object.

    Raises:
        MalformedAnswer: it is no JSON object.
    """
    slots = _slots(message)
    found: dict[str, Any] = {}
    extra: Object = {}
    for key, item in (value if isinstance(value, dict) else object_of(value)).items():
        slot = slots.get(key)
        if slot is None or any(rival in found for rival in slot.rivals):
            extra[key] = item
        elif bytes(item) == _NULL:
            if slot.null:
                found[slot.name] = 0
        elif not _put(found, slot, item):
            extra[key] = item
    if extra:
        found.update(free_json.extra_of(extra, mask=not is_answer(message)))
    return found


def _put(found: dict[str, Any], slot: _Slot, item: msgspec.Raw) -> bool:
    """Put a value where it goes; return whether there is a place that holds it."""
    if slot.exact:
        if not is_object(item):
            return False
        found[slot.exact] = bytes(item).decode()
        struct = free_json.struct_of(item)
        if struct is not None:
            found[slot.name] = struct
        return True
    if slot.null and bytes(item) == _NULL_WORD:
        found[slot.name] = 0
        return True
    taken = slot.read(item)
    if taken is UNFIT:
        if slot.raw is None:
            return False
        word = scalars.text(item)
        if word is UNFIT or not word:
            return False
        found[slot.raw] = slot.mask(word)
    elif type(taken) is _Fields:
        found.update(taken)
    else:
        found[slot.name] = taken
    return True


class _Fields(dict[str, Any]):
    """Several fields of a message, where Gemini has one object."""


@cache
def _slots(message: Descriptor) -> dict[str, _Slot]:
    own, answer = _OWN.get(message.name, frozenset()), is_answer(message)
    names = message.fields_by_name
    slots = {}
    for field in message.fields:
        name = field.name
        twin = name.endswith("_raw") or base_of_json(name) in names
        if name in own or name == "extra" or twin or name.startswith("media_resolution_"):
            continue
        oneof = field.containing_oneof
        rivals = () if oneof is None else tuple(f.name for f in oneof.fields if f is not field)
        raw, exact = f"{name}_raw", f"{name}_json"
        slots[field.camelcase_name] = _Slot(
            name=name,
            read=_reader(field) if answer else _masked_reader(field),
            raw=raw if raw in names else None,
            exact=exact if exact in names and field.message_type is not None else None,
            null=field.enum_type is not None and field.enum_type.name == "NullValue",
            rivals=rivals,
            mask=str if answer else masking.text,
        )
    if "media_resolution_tokens" in names:  # Gemini has an object round the level
        whole = slots["mediaResolution"]
        slots["mediaResolution"] = whole._replace(read=_media_resolution(whole.read), raw=None)
    return slots


def _media_resolution(level: Read) -> Read:
    def read(text: msgspec.Raw) -> Any:
        if not is_object(text):
            return UNFIT
        found = _Fields()
        for key, item in object_of(text).items():
            if key == "level":
                taken = level(item)
                word = scalars.text(item)
                if taken is UNFIT and (word is UNFIT or not word):
                    return UNFIT
                name = "media_resolution_raw" if taken is UNFIT else "media_resolution"
                found[name] = word if taken is UNFIT else taken
            elif key == "numTokens" and scalars.int32(item) is not UNFIT:
                found["media_resolution_tokens"] = scalars.int32(item)
            else:
                return UNFIT
        return found or UNFIT

    return read


def _masked_reader(field: Field) -> Read:
    """Return the reader of a field that says something about an answer."""
    kind = field.message_type
    if kind is None or kind.file.package == _GOOGLE or kind.GetOptions().map_entry:
        return masked(_reader(field))
    return _reader(field)


def _reader(field: Field) -> Read:
    one = _single(field)
    if not field.is_repeated:
        return one
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return scalars.text_map

    # a null among parts says nothing; in other lists it may be counted, as sources are
    items_of = _parts_of if field.full_name == _PARTS else list_of

    def many(text: msgspec.Raw) -> Any:
        texts = items_of(text)
        if not texts:
            return UNFIT
        items = [one(item) for item in texts]
        return UNFIT if any(item is UNFIT for item in items) else items

    return many


def _single(field: Field) -> Read:
    if field.enum_type is not None:
        words = numbers_by_word(field.enum_type)
        return lambda text: words.get(scalars.text(text), UNFIT)
    if field.message_type is not None:
        return _message(field.message_type)
    read = scalars.READERS[field.type]
    if field.has_presence or field.is_repeated:
        return read

    def present(text: msgspec.Raw) -> Any:
        return read(text) or UNFIT  # zero could not be told from absent

    return present


def _message(message: Descriptor) -> Read:
    if message.file.package == _GOOGLE:
        return scalars.WELL_KNOWN[message.name]
    return lambda text: fields(message, text) if is_object(text) else UNFIT
