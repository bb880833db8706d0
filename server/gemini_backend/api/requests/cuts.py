"""Cutting texts at characters, lists at entries, in messages of any type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf.descriptor import FieldDescriptor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.message import Message

_ELLIPSIS = "…"
_EXTRAS = frozenset({"extra", "extra_json"})


def cut(text: str, most: int) -> str:
    """Return at most `most` bytes of a text in UTF-8, whole characters, "…" where it was cut."""
    data = text.encode()
    if len(data) <= most:
        return text
    return data[: most - len(_ELLIPSIS.encode())].decode(errors="ignore") + _ELLIPSIS


class Text:
    """A text that can be cut to a number of bytes."""

    def __init__(self, name: str, owner: Any, field: str, most: int) -> None:
        """Take the text from `owner.field`; not more than its first `most` bytes can remain."""
        self.name = name
        self._owner, self._field = owner, field
        text = getattr(owner, field)
        self._bytes = len(text.encode())
        self._text = cut(text, most)
        self.size = self.kept = len(self._text.encode())
        setattr(owner, field, self._text)

    def keep(self, size: int) -> None:
        """Leave at most `size` bytes."""
        kept = cut(self._text, size)
        self.kept = len(kept.encode())
        setattr(self._owner, self._field, kept)

    def missing(self) -> int:
        """Return how many bytes have been cut off."""
        return self._bytes - self.kept


class Entries:
    """A list of messages that can be cut to a number of entries: the first, or the last ones."""

    def __init__(self, name: str, owner: Any, field: str, most: int, *, last: bool = False) -> None:
        """Take the list from `owner.field`; not more than `most` of its entries can remain."""
        self.name = name
        self._list = getattr(owner, field)
        self._last = last
        self._total = len(self._list)
        self._entries = list(self._list)[-most:] if last else list(self._list[:most])
        self.size = self._kept = len(self._entries)
        if self.size < self._total:
            self.keep(self.size)

    def keep(self, size: int) -> None:
        """Leave at most `size` entries."""
        self._kept = min(size, len(self._entries))
        start = len(self._entries) - self._kept if self._last else 0
        del self._list[:]
        self._list.extend(self._entries[start : start + self._kept])

    def cut_texts(self, most: int) -> bool:
        """Cut every text within the entries; return whether one was longer."""
        found = [cut_texts(entry, most) for entry in self._entries]
        self.keep(self._kept)
        return any(found)

    def missing(self) -> int:
        """Return how many entries have been left out."""
        return self._total - self._kept


def cut_texts(message: Message, most: int) -> bool:
    """Cut every text within a message, those of its maps too; return whether one was longer."""
    found = False
    for field, value in message.ListFields():
        if _is_map(field):
            found |= _cut_map(value, most)
        elif field.type == FieldDescriptor.TYPE_STRING:
            found |= _cut_field(message, field.name, value, most, repeated=field.is_repeated)
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            for inner in value if field.is_repeated else (value,):
                found |= cut_texts(inner, most)
    return found


def clear_extras(message: Message) -> bool:
    """Clear what the contract has no name for, wherever it is; return whether there was any."""
    found = False
    for field, value in message.ListFields():
        if field.name in _EXTRAS:
            message.ClearField(field.name)
            found = True
        elif field.type == FieldDescriptor.TYPE_MESSAGE and not _is_map(field):
            for inner in value if field.is_repeated else (value,):
                found |= clear_extras(inner)
    return found


def _is_map(field: Any) -> bool:
    kind = field.message_type
    return kind is not None and bool(kind.GetOptions().map_entry)


def _cut_map(values: Any, most: int) -> bool:
    longer = {key: value for key, value in _texts(values) if len(value.encode()) > most}
    for key, value in longer.items():
        values[key] = cut(value, most)
    return bool(longer)


def _texts(values: Any) -> Iterator[tuple[Any, str]]:
    return ((key, value) for key, value in values.items() if isinstance(value, str))


def _cut_field(message: Message, name: str, value: Any, most: int, *, repeated: bool) -> bool:
    if not repeated:
        setattr(message, name, cut(value, most))
        return len(value.encode()) > most
    longer = any(len(text.encode()) > most for text in value)
    value[:] = [cut(text, most) for text in value]
    return longer
