"""What an administrative act concerns, read from its request and its answer; never a secret."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from google.protobuf.message import Message

# Fields whose values an entry has; a field of a nested message by its path.
_TOLD = (
    "key.tenant",
    "key.principal",
    "project",
    "display_name",
    "comment",
    "validate_only",
)


def target_of(request: Message) -> str:
    """Return what a request names: a resource, paths of settings, a revision; empty for none."""
    fields = request.DESCRIPTOR.fields_by_name
    asked: Any = request
    if "update_mask" in fields:
        return ", ".join([*asked.update_mask.paths, *asked.reset_paths])
    if "revision" in fields:
        return f"revisions/{asked.revision}"
    return str(asked.name) if "name" in fields else ""


def target_in(answer: Message) -> str:
    """Return the name of the resource that an answer has; empty for none."""
    for field in answer.DESCRIPTOR.fields:
        if field.message_type is not None and not field.is_repeated:
            name = getattr(getattr(answer, field.name), "name", "")
            if isinstance(name, str) and name:
                return name
    return ""


def details_of(request: Message) -> dict[str, str]:
    """Return further facts of a request, by name."""
    found = {path: _value(request, path) for path in _TOLD}
    details = {path.rpartition(".")[2]: value for path, value in found.items() if value}
    roles = _roles(request)
    return {**details, "roles": roles} if roles else details


def _value(request: Any, path: str) -> str:
    for name in path.split("."):
        fields = getattr(request, "DESCRIPTOR", None)
        if fields is None or name not in fields.fields_by_name:
            return ""
        request = getattr(request, name)
    if isinstance(request, bool):
        return "true" if request else ""
    return request if isinstance(request, str) else ""


def _roles(request: Any) -> str:
    """Return the roles that a key is to have, by their names."""
    field = request.DESCRIPTOR.fields_by_name.get("key")
    if field is None or field.message_type is None:
        return ""
    roles = field.message_type.fields_by_name["roles"].enum_type.values_by_number
    return ", ".join(roles[role].name for role in request.key.roles if role in roles)
