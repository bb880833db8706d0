"""What Gemini says that the contract has no name for, when several pieces say such things.

It is kept twice: as the text that it came as, and as a Struct where one can hold it. Two of them
become one object; what the later one names too, it names for both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gemini_backend.processing.json_objects import fields_of, merged, struct_of, text_of
from gemini_backend.processing.tokens import as_json

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from gemini.backend.v1.content_pb2 import Candidate, Content
    from gemini.backend.v1.execute_service_pb2 import Delta

# Where the contract's deltas keep what a turn holds beside parts and role.
_CONTENT = "content"


def has_extra(message: Any, name: str = "extra") -> bool:
    """Say whether a message has anything that the contract has no name for."""
    return bool(getattr(message, f"{name}_json")) or message.HasField(name)


def merge_extra(
    message: Message, more: Message, name: str = "extra", more_name: str = "extra"
) -> None:
    """Add to what a message has what another one has."""
    if not has_extra(more, more_name):
        return
    if has_extra(message, name):
        put_text(message, merged(_text(message, name), _text(more, more_name)), name)
        return
    setattr(message, f"{name}_json", getattr(more, f"{more_name}_json"))
    if more.HasField(more_name):
        getattr(message, name).CopyFrom(getattr(more, more_name))


def put_text(message: Message, text: str, name: str = "extra") -> None:
    """Make a text what a message has; the Struct is the same, where one can hold it."""
    setattr(message, f"{name}_json", text)
    message.ClearField(name)
    struct = struct_of(text)
    if struct is not None:
        getattr(message, name).update(struct)


def drop_repeated(message: Message) -> None:
    """Take out of what a message has beside its fields what names a field that it sets.

    Gemini may leave a field out of one piece in an odd way (`"parts": []`), or name one twice. Put
    together with pieces that set the field, such a name would make a message that cannot be sent:
    a turn that is to be sent again says everything once.
    """
    if not has_extra(message):
        return
    said = _names_set(message)
    fields = fields_of(_text(message, "extra"))
    rest = {name: value for name, value in fields.items() if name not in said}
    if len(rest) == len(fields):
        return
    if rest:
        put_text(message, text_of(rest))
    else:
        message.ClearField("extra")
        message.ClearField("extra_json")


def drop_all_repeated(turn: Content) -> None:
    """Do so for a turn, its parts, and what they hold."""
    drop_repeated(turn)
    for part in turn.parts:
        drop_repeated(part)
        for field, value in part.ListFields():
            kind = field.message_type
            if kind is not None and not field.is_repeated and "extra_json" in kind.fields_by_name:
                drop_repeated(value)


def _names_set(message: Message) -> set[str]:
    """Return the names that Gemini may know the fields by that a message sets."""
    fields = message.DESCRIPTOR.fields_by_name
    names = set()
    for field, _ in message.ListFields():
        base = fields.get(field.name.removesuffix("_raw").removesuffix("_json"), field)
        names |= {base.name, base.json_name}
    return names - {"extra"}


def merge_candidate_extra(candidate: Candidate, delta: Delta) -> None:
    """Add what a delta has beside its fields; that of the turn goes to the candidate's content."""
    if not has_extra(delta):
        return
    fields = fields_of(_text(delta, "extra"))
    own = fields.pop(_CONTENT, None)
    if own is None or not bytes(own).startswith(b"{"):
        merge_extra(candidate, delta)
        return
    candidate.content.SetInParent()
    turn = bytes(own).decode()
    if fields_of(turn):
        before = _text(candidate.content, "extra")
        put_text(candidate.content, merged(before, turn) if before else turn)
    if fields:
        before = _text(candidate, "extra")
        rest = text_of(fields)
        put_text(candidate, merged(before, rest) if before else rest)


def put_candidate_extra(delta: Delta, candidate: Candidate) -> None:
    """Put into a delta what a candidate has beside its fields, and what its content has."""
    merge_extra(delta, candidate)
    turn = candidate.content
    if candidate.HasField("content") and (has_extra(turn) or not turn.ListFields()):
        own = fields_of(_text(turn, "extra") or "{}")
        before = fields_of(_text(delta, "extra") or "{}")
        put_text(delta, text_of({**before, _CONTENT: own}))


def _text(message: Message, name: str) -> str:
    """Return what a message has as text; empty for nothing."""
    text: str = getattr(message, f"{name}_json")
    if text or not message.HasField(name):
        return text
    return as_json(getattr(message, name))
