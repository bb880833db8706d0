"""Messages of any type of the contract, made of decisions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message_factory import GetMessageClass

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor
    from google.protobuf.message import Message

    from tests.fuzz.draws import Draws

_DEEPEST = 6
_INTS = (0, 1, -1, 2, 10, 255, 1000, 2**31 - 1, -(2**31))
_LONG_INTS = (*_INTS, 2**63 - 1, -(2**63))
_FLOATS = (0.0, 1.0, -1.0, 0.5, 1e308, float("inf"), float("nan"), -0.0)
_TEXTS = (
    "",
    "a",
    "models/gemini-flash-latest",
    "models/*",
    "sessions/a",
    "executions/a",
    "keys/a",
    "upstreamKeys/a",
    "retry.max_attempts",
    "execution",
    "../../etc/passwd",
    "a\nb\0c",
    "\U0001f600" * 40,
    "$(id)",
    "image/png",
    "{}",
)
_KIND = FieldDescriptor
_NUMBERS: dict[int, tuple[float, ...]] = {
    _KIND.CPPTYPE_BOOL: (True, False),
    _KIND.CPPTYPE_DOUBLE: _FLOATS,
    _KIND.CPPTYPE_FLOAT: _FLOATS,
    _KIND.CPPTYPE_INT32: _INTS,
    _KIND.CPPTYPE_INT64: _LONG_INTS,
    _KIND.CPPTYPE_UINT32: (0, 1, 2**32 - 1),
    _KIND.CPPTYPE_UINT64: (0, 1, 2**64 - 1),
}


class Author:
    """Writes messages; some of their texts have the author's mark."""

    def __init__(self, draws: Draws, mark: str = "") -> None:
        """Write what `draws` decides."""
        self._draws = draws
        self._texts = (*_TEXTS, mark) if mark else _TEXTS

    def message(self, descriptor: Descriptor, depth: int = 0) -> Message:
        """Return a message with some of its fields set, each to something that its type allows."""
        made: Any = GetMessageClass(descriptor)()
        fields, draws = descriptor.fields, self._draws
        while fields and draws.left and draws.below(8):
            self._set(made, draws.one_of(fields), depth)
        return made  # type: ignore[no-any-return] # its class was made at run time

    def _set(self, made: Any, field: FieldDescriptor, depth: int) -> None:
        kind = field.message_type
        if kind is not None and depth >= _DEEPEST:
            return
        if kind is not None and kind.GetOptions().map_entry:
            self._set_entry(getattr(made, field.name), kind, depth)
        elif field.is_repeated:
            values = getattr(made, field.name)
            for _ in range(self._draws.below(4)):
                if kind is None:
                    values.append(self._scalar(field))
                else:
                    values.add().CopyFrom(self.message(kind, depth + 1))
        elif kind is None:
            setattr(made, field.name, self._scalar(field))
        else:
            getattr(made, field.name).CopyFrom(self.message(kind, depth + 1))

    def _set_entry(self, entries: Any, kind: Descriptor, depth: int) -> None:
        key, value = kind.fields_by_name["key"], kind.fields_by_name["value"]
        name = self._scalar(key)
        if value.message_type is None:
            entries[name] = self._scalar(value)
        else:
            entries[name].CopyFrom(self.message(value.message_type, depth + 1))

    def _scalar(self, field: FieldDescriptor) -> Any:
        kind = field.cpp_type
        if field.type == _KIND.TYPE_BYTES:
            return self._draws.data(32)
        if kind == _KIND.CPPTYPE_STRING:
            text = self._draws.one_of(self._texts) if self._draws.flag() else self._draws.text(32)
            return text.encode(errors="replace").decode()
        if kind == _KIND.CPPTYPE_ENUM:
            return self._draws.below(len(field.enum_type.values) + 2)
        return self._draws.one_of(_NUMBERS[kind])
