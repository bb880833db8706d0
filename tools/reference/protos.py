"""The contract as protoc sees it, with the comments of each element."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    ServiceDescriptorProto,
)
from grpc_tools import protoc  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ROOT = Path(__file__).parents[2]
PACKAGE = "gemini.backend.v1"

# Field numbers of descriptor.proto, of which the paths of source locations are made.
_MESSAGES, _ENUMS, _SERVICES, _MEMBERS = 4, 5, 6, 2


class Named(Protocol):
    """Whatever has a name."""

    name: str


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
    """A message; `members` are its fields. The contract nests none in another."""

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
    comments = {
        tuple(location.path): " ".join(location.leading_comments.split())
        for location in proto.source_code_info.location
    }

    def said(*path: int) -> str:
        return comments.get(path, "")

    def members(kind: int, at: int, names: Iterable[str]) -> dict[str, str]:
        return {name: said(kind, at, _MEMBERS, index) for index, name in enumerate(names)}

    services = [
        Service(one.name, said(_SERVICES, at), members(_SERVICES, at, _names(one.method)), one)
        for at, one in enumerate(proto.service)
    ]
    messages = [
        Message(one.name, said(_MESSAGES, at), members(_MESSAGES, at, _names(one.field)), one)
        for at, one in enumerate(proto.message_type)
    ]
    enums = [
        Enum(one.name, said(_ENUMS, at), members(_ENUMS, at, _names(one.value)), one)
        for at, one in enumerate(proto.enum_type)
    ]
    return File(proto.name.rpartition("/")[2], services, messages, enums)


def _names(parts: Iterable[Named]) -> list[str]:
    return [part.name for part in parts]
