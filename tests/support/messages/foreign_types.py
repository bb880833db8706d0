"""Types of somebody else's client held against messages of the contract, field by field."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from google.protobuf.descriptor import FieldDescriptor as Field

from gemini_backend.upstream.gemini.translation.names import numbers_by_word

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.descriptor import Descriptor

_SCALARS = {
    "bool": {Field.TYPE_BOOL},
    "bytes": {Field.TYPE_BYTES},
    "float": {Field.TYPE_DOUBLE, Field.TYPE_FLOAT},
    "int": {Field.TYPE_INT32, Field.TYPE_INT64},
    "text": {Field.TYPE_STRING},
}
# what JSON has as text, or as anything, and the contract has a type for
_WELL_KNOWN = {
    "any": {"Value", "Struct"},
    "object": {"Struct"},
    "text": {"Duration"},
    "time": {"Timestamp"},
}


@dataclass(frozen=True)
class Tables:
    """How their types differ from the contract, each difference on purpose.

    Attributes:
        renamed: Their "Type.field" to the name that the field has in the contract.
        flat: Their "Type.field" whose own fields lie one level higher in the contract.
        left_out: Their "Type.field" that the contract does not type, to the reason.
        kinds: Their "Type.field" that the contract has as another kind of value, to the reason.
        words: Their enum's values, "Enum.VALUE", that the contract has not, to the reason.
    """

    renamed: Mapping[str, str] = field(default_factory=dict)
    flat: frozenset[str] = frozenset()
    left_out: Mapping[str, str] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=dict)


class Comparison:
    """Collects `faults`: what is missing in the contract, and what the tables say for nothing."""

    def __init__(self, seen: Mapping[str, Any], tables: Tables) -> None:
        """Compare what the script `google_genai_types.py` has printed."""
        self.faults: list[str] = []
        self._seen = seen
        self._tables = tables
        self._used: set[str] = set()
        self._done: set[tuple[str, ...]] = set()

    def compare(self, theirs: str, *ours: Descriptor) -> None:
        """Look for the fields of a type in these messages, and in those that they are made of."""
        key = (theirs, *(message.full_name for message in ours))
        if key in self._done:
            return
        self._done.add(key)
        for name, found in self._seen["types"][theirs].items():
            self._field(f"{theirs}.{name}", found, ours)

    def unused(self) -> list[str]:
        """Return what the tables name and nothing needed."""
        tables = self._tables
        named = {*tables.renamed, *tables.flat, *tables.left_out, *tables.kinds, *tables.words}
        return sorted(named - self._used)

    def _field(self, key: str, found: Mapping[str, Any], ours: tuple[Descriptor, ...]) -> None:
        tables = self._tables
        same = _of_json(found["json"], ours)
        differs = key in tables.left_out or key in tables.flat or key in tables.renamed
        if differs:
            self._used.add(key)
        if differs and same is not None and (key not in tables.flat or _is_message(same)):
            self.faults.append(f"{key} is typed under its own name: take it out of the tables")
        elif key in tables.flat:
            self.compare(found["type"], *ours)
        elif key not in tables.left_out:
            named = _of_name(tables.renamed[key], ours) if key in tables.renamed else same
            if named is None:
                self.faults.append(f"{key} is not typed")
            else:
                self._value(key, found, named)

    def _value(self, key: str, found: Mapping[str, Any], ours: Field) -> None:
        fits = ours.is_repeated == found.get("list", False) or _is_map(ours)
        if not fits or not _same_kind(found["kind"], ours):
            self._used.add(key)
            if key not in self._tables.kinds:
                self.faults.append(f"{key} is {found['kind']}, and {ours.full_name} is not")
            return
        if key in self._tables.kinds:
            self.faults.append(f"{key} is of the same kind: take it out of the tables")
        if found["kind"] == "message":
            self.compare(found["type"], ours.message_type)
        elif found["kind"] == "enum":
            self._enum(found["type"], ours)

    def _enum(self, theirs: str, ours: Field) -> None:
        enum = ours.enum_type
        known = numbers_by_word(enum)
        for word in self._seen["enums"][theirs]:
            key = f"{theirs}.{word}"
            if word in known or word.upper().endswith("UNSPECIFIED"):
                continue
            self._used.add(key)
            if key not in self._tables.words:
                self.faults.append(f"{key} is no value of {enum.name}")
        owner = ours.containing_type
        if not ours.is_repeated and f"{ours.name}_raw" not in owner.fields_by_name:
            self.faults.append(f"{ours.full_name} has no _raw twin")


def _of_json(name: str, ours: tuple[Descriptor, ...]) -> Field | None:
    found = (message.fields_by_camelcase_name.get(name) for message in ours)
    return next((one for one in found if one is not None), None)


def _of_name(name: str, ours: tuple[Descriptor, ...]) -> Field | None:
    found = (message.fields_by_name.get(name) for message in ours)
    return next((one for one in found if one is not None), None)


def _is_message(ours: Field) -> bool:
    return ours.message_type is not None


def _is_map(ours: Field) -> bool:
    return ours.message_type is not None and bool(ours.message_type.GetOptions().map_entry)


def _same_kind(kind: str, ours: Field) -> bool:
    if kind == "word":
        return ours.enum_type is not None and ours.enum_type.name == "NullValue"
    if kind == "enum":
        return ours.enum_type is not None
    if ours.message_type is None:
        return ours.type in _SCALARS.get(kind, set())
    if _is_map(ours):
        return kind == "object"
    if ours.message_type.file.package == "google.protobuf":
        return ours.message_type.name in _WELL_KNOWN.get(kind, set())
    return kind == "message"
