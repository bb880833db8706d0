"""Whole numbers of a request that may have been rounded before they came here.

A `google.protobuf.Struct` holds every number as a double, so that whole numbers beyond 2^53 cannot
be known to be what their writer meant. They are sent as they are, and the caller is told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gemini.backend.v1.execute_service_pb2 import Warning as Told

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.protobuf.descriptor import Descriptor

CODE: Final = "NUMBER_ROUNDED"
_NAMED = 3  # more paths than this are only counted
_TWINS = ("_json", "_text")


def warnings_of(message: Descriptor, paths: Sequence[str]) -> list[Told]:
    """Return the warning of rounded numbers at these paths of a message; none for no paths."""
    if not paths:
        return []
    named = ", ".join(_with_twin(message, path) for path in paths[:_NAMED])
    more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
    text = (
        f"integers beyond 2^53 may have been rounded before they arrived: {named}{more}; a Struct "
        "cannot represent them, the text field next to it can"
    )
    return [Told(code=CODE, message=text)]


def _with_twin(message: Descriptor, path: str) -> str:
    """Return a path with the field to set instead of the one that it leads through."""
    names = path.split(".")
    for at, step in enumerate(names):
        name = step.partition("[")[0]
        field = message.fields_by_name.get(name)
        if field is None or field.message_type is None:
            break
        if field.message_type.file.package == "google.protobuf":
            twins = [name + twin for twin in _TWINS if name + twin in message.fields_by_name]
            return f"{path} (set {'.'.join([*names[:at], *twins[:1]])})" if twins else path
        message = field.message_type
    return path
