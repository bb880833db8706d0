"""The contract as protoc sees it, with the comments of each element."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    ServiceDescriptorProto,
)
from grpc_tools import protoc

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parents[2]
PACKAGE = "gemini.backend.v1"

# Field numbers of descriptor.proto, of which the paths of source locations are made.
_FILE_MESSAGES, _FILE_ENUMS, _FILE_SERVICES = 4, 5, 6
_MESSAGE_FIELDS, _MESSAGE_NESTED, _MESSAGE_ENUMS, _MESSAGE_ONEOFS = 2, 3, 4, 8
_ENUM_VALUES = 2
_SERVICE_METHODS = 2


@dataclass(frozen=True, slots=True)
class Commented:
    """An element of the contract, its comment, and those of what it is made of, by name."""

    name: str
    comment: str
    members: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Service(Commented):
    """A service; `members` are its RPCs."""

    proto: ServiceDescriptorProto


@dataclass(frozen=True, slots=True)
class Message(Commented):
    """A message, nested ones named `Outer.Inner`; `members` are its fields."""

    proto: DescriptorProto


@dataclass(frozen=True, slots=True)
class Enum(Commented):
    """An enum; `members` are its values."""

    proto: EnumDescriptorProto


@dataclass(frozen=True, slots=True)
class File:
    """A file of the contract: what it declares, in its own order."""

    name: str
    services: list[Service]
    messages: list[Message]
    enums: list[Enum]


def contract() -> list[File]:
    """Return the files of the contract, by name.

    Raises:
        RuntimeError: protoc refuses them; it has said why on standard error.
    """
    names = sorted(path.name for path in (ROOT / "protos/gemini/backend/v1").glob("*.proto"))
    compiled = _compiled([f"gemini/backend/v1/{name}" for name in names])
    return [_file(proto) for proto in compiled.file if proto.package == PACKAGE]


def _compiled(names: list[str]) -> FileDescriptorSet:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "contract.binpb"
        arguments = [
            "protoc",
            f"-I{ROOT / 'protos'}",
            f"-I{ROOT / 'protos/third_party'}",
            f"-I{files('grpc_tools') / '_proto'}",
            "--include_source_info",
            f"--descriptor_set_out={out}",
            *names,
        ]
        if protoc.main(arguments) != 0:
            msg = "the contract does not compile; see above, and run buf lint"
            raise RuntimeError(msg)
        return FileDescriptorSet.FromString(out.read_bytes())


def _file(proto: FileDescriptorProto) -> File:
    said = {
        tuple(location.path): " ".join(location.leading_comments.split())
        for location in proto.source_code_info.location
    }
    messages: list[Message] = []
    enums = [
        _enum(enum, (_FILE_ENUMS, index), "", said) for index, enum in enumerate(proto.enum_type)
    ]
    for index, message in enumerate(proto.message_type):
        for found in _messages(message, (_FILE_MESSAGES, index), "", said):
            (messages if isinstance(found, Message) else enums).append(found)  # type: ignore[arg-type]
    services = [
        Service(
            service.name,
            said.get((_FILE_SERVICES, at), ""),
            {
                method.name: said.get((_FILE_SERVICES, at, _SERVICE_METHODS, index), "")
                for index, method in enumerate(service.method)
            },
            service,
        )
        for at, service in enumerate(proto.service)
    ]
    return File(proto.name.rpartition("/")[2], services, messages, enums)


def _messages(
    proto: DescriptorProto, path: tuple[int, ...], outer: str, said: Mapping[tuple[int, ...], str]
) -> Iterator[Message | Enum]:
    """Yield a message and what is nested in it, entries of maps left out."""
    name = f"{outer}{proto.name}"
    fields = {
        field.name: said.get((*path, _MESSAGE_FIELDS, index), "")
        for index, field in enumerate(proto.field)
    }
    oneofs = {
        oneof.name: said.get((*path, _MESSAGE_ONEOFS, index), "")
        for index, oneof in enumerate(proto.oneof_decl)
    }
    yield Message(name, said.get(path, ""), {**oneofs, **fields}, proto)
    for index, enum in enumerate(proto.enum_type):
        yield _enum(enum, (*path, _MESSAGE_ENUMS, index), f"{name}.", said)
    for index, nested in enumerate(proto.nested_type):
        if not nested.options.map_entry:
            yield from _messages(nested, (*path, _MESSAGE_NESTED, index), f"{name}.", said)


def _enum(
    proto: EnumDescriptorProto,
    path: tuple[int, ...],
    outer: str,
    said: Mapping[tuple[int, ...], str],
) -> Enum:
    values = {
        value.name: said.get((*path, _ENUM_VALUES, index), "")
        for index, value in enumerate(proto.value)
    }
    return Enum(f"{outer}{proto.name}", said.get(path, ""), values, proto)
