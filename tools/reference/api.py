"""docs/api.md: every service, message and enum of the contract."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, MethodOptions

from tools.reference.protos import PACKAGE, ROOT, contract

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.descriptor_pb2 import DescriptorProto, MethodDescriptorProto

    from tools.reference.protos import Enum, File, Message, Service

_HEAD = """\
# API reference

The contract is the package `gemini.backend.v1`, in `protos/gemini/backend/v1`. Failures are gRPC
statuses, see [errors.md](errors.md). A field that says nothing of a default is empty, 0 or false
when it is left out. **Retry** says whether a client may send the same call again without asking:
*safe* where it changes nothing, *idempotent* where a second time changes nothing more. An RPC
marked *not yet* answers UNIMPLEMENTED with the reason `BACKEND_NOT_IMPLEMENTED` in this version.

This page is made by `make gen`.
"""

_RETRY = {
    MethodOptions.NO_SIDE_EFFECTS: "safe",
    MethodOptions.IDEMPOTENT: "idempotent",
    MethodOptions.IDEMPOTENCY_UNKNOWN: "no",
}
_SCALARS = {
    number: name.removeprefix("TYPE_").lower()
    for name, number in FieldDescriptorProto.Type.items()
    if name not in {"TYPE_MESSAGE", "TYPE_ENUM", "TYPE_GROUP"}
}


def render() -> str:
    """Return the page."""
    files = contract()
    done = implemented()
    parts = [_HEAD, "\n## Services\n"]
    for file in files:
        parts += [_service(service, done) for service in file.services]
    for file in files:
        parts += _types(file)
    return "".join(parts)


def implemented() -> frozenset[str]:
    """Return the names of the RPCs that this version can do: methods of the servicers."""
    folder = ROOT / "server/gemini_backend/api"
    return frozenset(
        node.name
        for path in folder.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name[:1].isupper()
    )


def _service(service: Service, done: frozenset[str]) -> str:
    rows = "".join(_method(service, method, done) for method in service.proto.method)
    return (
        f"\n### {service.name}\n\n{service.comment}\n\n"
        f"| RPC | request | response | retry | meaning |\n|---|---|---|---|---|\n{rows}"
    )


def _method(service: Service, method: MethodDescriptorProto, done: frozenset[str]) -> str:
    late = "" if method.name in done else " *not yet*"
    return _row(
        f"`{method.name}`{late}",
        _stream(method.client_streaming) + _linked(method.input_type),
        _stream(method.server_streaming) + _linked(method.output_type),
        _RETRY[method.options.idempotency_level],
        service.members[method.name],
    )


def _stream(streams: object) -> str:
    return "stream of " if streams else ""


def _types(file: File) -> Iterator[str]:
    yield f"\n## {file.name}\n"
    for message in file.messages:
        yield _message(message)
    for enum in file.enums:
        yield _enum(enum)


def _message(message: Message) -> str:
    head = f"\n### {message.name}\n\n{message.comment}\n"
    if not message.proto.field:
        return f"{head}\nNo fields.\n"
    rows = "".join(
        _row(
            f"`{field.name}`",
            _type(message.proto, field),
            str(field.number),
            _meaning(message, field),
        )
        for field in message.proto.field
    )
    return f"{head}\n| field | type | number | meaning |\n|---|---|---|---|\n{rows}"


def _enum(enum: Enum) -> str:
    rows = "".join(
        _row(f"`{value.name}`", str(value.number), enum.members[value.name])
        for value in enum.proto.value
    )
    return (
        f"\n### {enum.name}\n\n{enum.comment}\n\n"
        f"| value | number | meaning |\n|---|---|---|\n{rows}"
    )


def _meaning(message: Message, field: FieldDescriptorProto) -> str:
    own = message.members[field.name]
    if not _in_oneof(field):
        return own
    oneof = message.proto.oneof_decl[field.oneof_index].name
    return f"{own} *One of `{oneof}`.*"


def _in_oneof(field: FieldDescriptorProto) -> bool:
    return field.HasField("oneof_index") and not field.proto3_optional


def _type(message: DescriptorProto, field: FieldDescriptorProto) -> str:
    if field.label == FieldDescriptorProto.LABEL_REPEATED:
        entry = _entry(message, field)
        if entry is not None:
            return f"map of {_plain(entry.field[0])} to {_plain(entry.field[1])}"
        return f"list of {_plain(field)}"
    return f"optional {_plain(field)}" if field.proto3_optional else _plain(field)


def _entry(message: DescriptorProto, field: FieldDescriptorProto) -> DescriptorProto | None:
    """Return the entry of a map; None for a list."""
    name = field.type_name.rpartition(".")[2]
    nested = (one for one in message.nested_type if one.options.map_entry and one.name == name)
    return next(nested, None)


def _plain(field: FieldDescriptorProto) -> str:
    return _SCALARS.get(field.type) or _linked(field.type_name)


def _linked(type_name: str) -> str:
    """Return a type by its short name, linked where it stands on this page."""
    name = type_name.lstrip(".")
    if not name.startswith(f"{PACKAGE}."):
        return f"`{name}`"
    short = name.removeprefix(f"{PACKAGE}.")
    return f"[{short}](#{short.lower().replace('.', '')})"


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"
