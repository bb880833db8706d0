"""Whatever a caller can put into a request has a length, unless it is content.

A name, an id, a type, a key of a map may stand in the message of a failure, or in the path of a
field there. What is content never does; the size of the message is its bound.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from google.protobuf.descriptor import FieldDescriptor

from buf.validate.validate_pb2 import field as rules_of_field
from gemini_backend.rpc.contract import SERVICES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.descriptor import Descriptor

# By name: what a model reads or writes, JSON of any shape, media, opaque state.
CONTENT = {
    "prompt", "instruction", "text", "content", "string_value", "code", "output", "word", "title",
    "summary", "description", "style", "source_text",
    "extra_json", "args_json", "response_json", "part_metadata_json", "parameters_json",
    "schema_json", "response_schema_json", "parameters_json_schema_text",
    "response_json_schema_text",
    "data", "thought_signature", "signature", "voice_sample_audio", "consent_audio",
}  # fmt: skip

# Written by this server, and read again only as a part of a session that is imported.
COUNTED = {"Usage", "ModalityTokenCount", "Cost"}

TEXTS = {FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES}


def without_length(message: Descriptor, seen: set[str]) -> Iterator[str]:
    """Yield the fields of a request, of whatever depth, whose texts have no length."""
    foreign = not message.full_name.startswith("gemini.")
    if foreign or message.full_name in seen or message.name in COUNTED:
        return
    seen.add(message.full_name)
    for field in message.fields:
        rules = field.GetOptions().Extensions[rules_of_field]
        inner, place = field.message_type, f"{message.name}.{field.name}"
        if inner is not None and inner.GetOptions().map_entry:
            key, value = inner.fields
            if not rules.map.HasField("max_pairs"):
                yield f"{place}: pairs"
            if key.type in TEXTS and not has_length(rules.map.keys):
                yield f"{place}: keys"
            if value.type in TEXTS and not has_length(rules.map.values):
                yield f"{place}: values"
            inner = value.message_type
        elif field.type in TEXTS and field.name not in CONTENT:
            own = rules.repeated.items if field.is_repeated else rules
            if not has_length(own):
                yield place
        if inner is not None:
            yield from without_length(inner, seen)


def has_length(rules: Any) -> bool:
    """Say whether rules bound a text: by a length, by a pattern without end, by a list."""
    text = rules.string
    return (
        any(text.HasField(name) for name in ("max_len", "max_bytes", "len", "len_bytes"))
        or any(rules.bytes.HasField(name) for name in ("max_len", "len"))
        or bool(getattr(text, "in"))
        or (text.HasField("pattern") and ends(text.pattern))
    )


def ends(pattern: str) -> bool:
    """Say whether a pattern takes texts of limited length only."""
    without_sets = re.sub(r"\[(?:\\.|[^\]\\])*\]", "x", pattern)
    return (
        re.search(r"(?<!\\)[+*]|\{\d+,\}", without_sets) is None
        and pattern.startswith("^")
        and pattern.endswith("$")
    )


def test_patterns_are_told_apart() -> None:
    """Only one with both ends and without an endless repetition bounds a text."""
    assert ends(r"^[a-z+*][a-z0-9_-]{0,62}$")
    assert not ends("^[a-z]+$")
    assert not ends("^[a-z]{3,}$")
    assert not ends("[a-z]{0,3}")


def test_every_text_of_a_request_has_a_length() -> None:
    """Texts, keys and values of maps; what is content is exempt by its name."""
    seen: set[str] = set()
    found = [
        place
        for service in SERVICES
        for method in service.methods
        for place in without_length(method.input_type, seen)
    ]
    assert [] == found
