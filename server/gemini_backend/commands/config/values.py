"""Values of settings as the commands compare and print them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from google.protobuf.json_format import MessageToDict

from gemini_backend import masking
from gemini_backend.api.messages.config import message_of
from gemini_backend.audit import fit
from gemini_backend.config.reference import settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gemini.backend.v1.config_service_pb2 import BackendConfig
    from gemini_backend.config import Given

_WIDTH = 4096


def values_of(given: Mapping[str, Given]) -> dict[str, object]:
    """Return the values by path, as `values_in` does; secrets masked."""
    return values_in(message_of(given))


def values_in(message: BackendConfig) -> dict[str, object]:
    """Return the values of a message by path: numbers, texts, lists, dicts."""
    return dict(_values(message, ""))


def shown(value: object) -> str:
    """Return a value as JSON on one line, without secrets."""
    return fit(masking.text(msgspec.json.encode(value).decode()), _WIDTH)


def json_line(told: Mapping[str, object]) -> str:
    """Return facts as a line of JSON, without secrets."""
    return masking.text(msgspec.json.encode(dict(told)).decode()) + "\n"


def _values(message: Any, prefix: str) -> Iterator[tuple[str, object]]:
    for field in message.DESCRIPTOR.fields:
        path, value = f"{prefix}{field.name}", getattr(message, field.name)
        if path in settings():
            yield path, _plain(value) if field.is_repeated else value
        elif field.message_type is not None and not field.is_repeated:
            yield from _values(value, f"{path}.")


def _plain(items: Any) -> list[object]:
    return [
        item
        if isinstance(item, str | int | float | bool)
        else MessageToDict(item, preserving_proto_field_name=True)
        for item in items
    ]
