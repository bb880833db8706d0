"""What the contract says of itself holds: twins, reasons, levels, options for each language."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, MethodOptions

from gemini.backend.v1.error_details_pb2 import ErrorReason
from gemini_backend import errors
from gemini_backend.errors import ServiceError
from tools.reference.api import implemented
from tools.reference.protos import contract

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tools.reference.protos import Enum, File, Message, Service

ROOT = Path(__file__).parents[2]
PROTOS = sorted((ROOT / "protos/gemini/backend/v1").glob("*.proto"))
FILES: list[File] = contract()
MESSAGES: list[Message] = [message for file in FILES for message in file.messages]
ENUMS: dict[str, Enum] = {enum.name: enum for file in FILES for enum in file.enums}
SERVICES: list[Service] = [service for file in FILES for service in file.services]
RPCS = [(service, method) for service in SERVICES for method in service.proto.method]

REPEATED = FieldDescriptorProto.LABEL_REPEATED
# words of this server's own catalogue, which are all known to it
OWN_WORDS = {"Cost.priced_tier", "PriceRate.modality", "ThinkingSupport.default_level"}
# what an RPC of any kind can fail with is told once, with the reasons themselves
EVERYWHERE = {
    "CALLER_INVALID_REQUEST",
    "CALLER_MALFORMED_MESSAGE",
    "CALLER_MESSAGE_TOO_LARGE",
    "CALLER_TOO_MANY_PARTS",
    "CALLER_DEADLINE_TOO_SHORT",
    "CALLER_CANCELLED",
    "CALLER_UNAUTHENTICATED",
    "CALLER_FORBIDDEN",
    "BACKEND_UNEXPECTED",
    "BACKEND_DRAINING",
}
_FREE = {".google.protobuf.Struct", ".google.protobuf.Value"}
_NOTHING = "Fails with the common reasons only"
_REASON = re.compile(r"\b(?:CALLER|POLICY|UPSTREAM|BACKEND)_[A-Z_]*[A-Z*]")


def _names_a_twin(enum: Enum) -> bool:
    return "`_raw` twin" in enum.members[enum.proto.value[0].name]


def _enum_fields() -> Iterator[tuple[Message, FieldDescriptorProto, Enum]]:
    for message in MESSAGES:
        for field in message.proto.field:
            if field.type == FieldDescriptorProto.TYPE_ENUM:
                name = field.type_name.rpartition(".")[2]
                if name in ENUMS:  # NullValue is none of ours
                    yield message, field, ENUMS[name]


def test_every_twin_that_is_named_is_there() -> None:
    """A field of an enum that may come as a word has a field for the word, and no other has."""
    wrong = []
    for message, field, enum in _enum_fields():
        path = f"{message.name}.{field.name}"
        has = any(other.name == f"{field.name}_raw" for other in message.proto.field)
        if field.label != REPEATED and has != (_names_a_twin(enum) and path not in OWN_WORDS):
            wrong.append(path)
    assert [] == wrong


def test_exceptions_from_that_are_needed() -> None:
    """A field that is excepted is there, and its enum does name a twin."""
    fields = {f"{m.name}.{f.name}" for m, f, enum in _enum_fields() if _names_a_twin(enum)}
    assert set() == OWN_WORDS - fields


def test_comments_name_fields_that_exist() -> None:
    """A twin that a comment names, raw, exact or as text, stands in the same message."""
    wrong = []
    for message in MESSAGES:
        names = {field.name for field in message.proto.field}
        for place, comment in [("", message.comment), *message.members.items()]:
            twins = re.findall(r"`(\w+_(?:raw|json|text))`", comment)
            wrong += [f"{message.name}.{place}: {one}" for one in twins if one not in names]
    assert [] == wrong


def test_every_twin_has_a_field() -> None:
    """A raw or exact twin stands beside the field that it is one of."""
    for message in MESSAGES:
        names = {field.name for field in message.proto.field}
        for name in names:
            for end in ("_raw", "_json"):
                base = name.removesuffix(end)
                assert base == name or base in names, f"{message.name}.{name}"


def test_free_json_has_its_text() -> None:
    """Wherever JSON goes to or comes from the model, its exact text stands beside the Struct."""
    rounded = {
        "InterceptorConfig.options",
        "UpstreamFailure.details",
        "UpstreamFailure.extra",
        "File.extra",
        "Model.extra",
    }
    found = set()
    for message in MESSAGES:
        names = {field.name for field in message.proto.field}
        free = [one.name for one in message.proto.field if one.type_name in _FREE]
        alone = [one for one in free if not names & {f"{one}_json", f"{one}_text"}]
        found |= {f"{message.name}.{name}" for name in alone}
    assert rounded == found


# --- reasons


def _said(service: Service, method: str) -> tuple[str, set[str]]:
    """Return the sentence of an RPC's comment that says how it fails, and the reasons in it."""
    found = re.findall(r"Fails with .*", service.members[method], re.DOTALL)
    assert len(found) == 1, f"{service.name}.{method} says {len(found)} times how it fails"
    return found[0], set(_REASON.findall(found[0]))


@pytest.mark.parametrize(("service", "method"), RPCS, ids=lambda one: one.name)
def test_every_rpc_names_its_reasons(service: Service, method: object) -> None:
    """Each reason in its comment exists, and is none of those that every call can fail with."""
    name = method.name  # type: ignore[attr-defined]
    sentence, reasons = _said(service, name)
    assert bool(reasons) != (_NOTHING in sentence)
    known = {reason.removeprefix("ERROR_REASON_") for reason in ErrorReason.keys()}  # noqa: SIM118
    assert set() == {one for one in reasons if one != "UPSTREAM_*"} - known
    assert set() == reasons & EVERYWHERE


@pytest.mark.parametrize(("service", "method"), RPCS, ids=lambda one: one.name)
def test_what_is_not_served_says_so(service: Service, method: object) -> None:
    """An RPC that this version does not serve names that reason alone."""
    name = method.name  # type: ignore[attr-defined]
    _, reasons = _said(service, name)
    assert (reasons == {"BACKEND_NOT_IMPLEMENTED"}) == (name not in implemented())


def test_what_is_raised_is_named() -> None:
    """Every failure that the server makes is named by an RPC, or told of for all of them."""
    leaves = {
        name: leaf.reason
        for name, leaf in inspect.getmembers(errors, inspect.isclass)
        if issubclass(leaf, ServiceError) and hasattr(leaf, "reason")
    }
    used = {
        leaves[node.id]
        for path in (ROOT / "server/gemini_backend").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Name) and node.id in leaves
    }
    named = set().union(*(_said(service, method.name)[1] for service, method in RPCS))
    upstream = {reason for reason in used if reason.startswith("UPSTREAM_")}
    assert set() == used - named - upstream - EVERYWHERE


def test_what_every_call_can_fail_with() -> None:
    """The comment of the reasons lists those that no RPC repeats."""
    (comment,) = [enum.comment for name, enum in ENUMS.items() if name == "ErrorReason"]
    first = comment[comment.index("Every call") : comment.index("The comment of each")]
    assert EVERYWHERE == set(_REASON.findall(first))


# --- levels and languages

_SAFE, _IDEMPOTENT = MethodOptions.NO_SIDE_EFFECTS, MethodOptions.IDEMPOTENT
_LEAVE_SOMETHING = {"Execute", "Process", "ExecuteCode", "BatchExecute"}


def test_levels_tell_the_truth() -> None:
    """What reads is free of side effects; an execution may leave a turn, or go on by itself."""
    levels = {method.name: method.options.idempotency_level for _, method in RPCS}
    reads = (
        "Get",
        "List",
        "Watch",
        "Validate",
        "Recommend",
        "Count",
        "Embed",
        "Export",
        "Verify",
        "Who",
    )
    assert {name for name in levels if name.startswith(reads)} == {
        name for name, level in levels.items() if level == _SAFE
    }
    assert {
        "UpdateConfig",
        "RollbackConfig",
        "CancelBatch",
        "CancelExecution",
        "DeleteFile",
        "DeleteSession",
        "DeleteUpstreamKey",
        "RevokeApiKey",
        "RotateUpstreamKeyEncryption",
    } == {name for name, level in levels.items() if level == _IDEMPOTENT}
    assert {MethodOptions.IDEMPOTENCY_UNKNOWN} == {levels[name] for name in _LEAVE_SOMETHING}


@pytest.mark.parametrize("path", PROTOS, ids=lambda path: path.stem)
def test_each_file_has_the_options_of_each_language(path: Path) -> None:
    """Packages are the same in every file: of Go, of Java with a file a class, of C#."""
    options = re.findall(r"^option (\w+) = (.+);$", path.read_text(), re.MULTILINE)
    go = "github.com/gemini-backend/gemini-backend/clients/go/gemini/backend/v1;backendv1"
    assert [
        ("csharp_namespace", '"GeminiBackend.V1"'),
        ("go_package", f'"{go}"'),
        ("java_multiple_files", "true"),
        ("java_package", '"dev.geminibackend.v1"'),
    ] == options
