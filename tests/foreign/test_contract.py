"""The contract follows Gemini: nothing that Google's newest client has a type for is missing."""

from __future__ import annotations

import copy
import json
import os
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor_pool import DescriptorPool

from gemini.backend.v1 import execute_service_pb2
from tests.foreign import environments
from tests.foreign.google_types import MESSAGES, PAIRS, STREAM, STREAM_PAIRS
from tests.support.messages.foreign_types import Comparison, Tables
from tests.support.servers.foreign_mocks import leave_out

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.descriptor import FileDescriptor

pytestmark = [pytest.mark.timeout(900), pytest.mark.xdist_group("foreign")]

PACKAGE = "gemini.backend.v1"
PROTOS = execute_service_pb2.DESCRIPTOR


@pytest.fixture(scope="module")
def seen() -> dict[str, Any]:
    """The types of google-genai, as the script in its environment tells of them."""
    try:
        command = environments.python_environment("google-genai-3")
    except (subprocess.SubprocessError, OSError) as error:
        leave_out(f"the environment of google-genai-3 cannot be built: {error}")
    script = environments.script_path(command, "google_genai_types.py")
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    told = subprocess.run(
        [*command, str(script), *PAIRS], env=clean, capture_output=True, timeout=120, check=True
    )
    found: dict[str, Any] = json.loads(told.stdout)
    return found


def _pool(without: str = "") -> DescriptorPool:
    """Return the contract's descriptors; `without` names a "Message.field" or "Enum.VALUE"."""
    pool = DescriptorPool()
    added: set[str] = set()

    def add(file: FileDescriptor) -> None:
        if file.name in added:
            return
        added.add(file.name)
        for needed in file.dependencies:
            add(needed)
        proto = descriptor_pb2.FileDescriptorProto()
        file.CopyToProto(proto)
        _take_out(proto, without)
        pool.AddSerializedFile(proto.SerializeToString())

    add(PROTOS)
    return pool


def _take_out(proto: descriptor_pb2.FileDescriptorProto, name: str) -> None:
    """Give a field or value another name, which is to those who look for it as if it were gone."""
    owner, _, inner = name.partition(".")
    lists: list[Any] = [one.field for one in proto.message_type if one.name == owner]
    lists += [one.value for one in proto.enum_type if one.name == owner]
    for items in lists:
        for item in items:
            item.name += "_gone" * (item.name == inner)


def _compared(
    seen: Mapping[str, Any],
    tables: Tables = MESSAGES,
    pairs: Mapping[str, tuple[str, ...]] = PAIRS,
    without: str = "",
) -> Comparison:
    pool = _pool(without)
    comparison = Comparison(seen, tables)
    for theirs, ours in pairs.items():
        comparison.compare(
            theirs, *(pool.FindMessageTypeByName(f"{PACKAGE}.{name}") for name in ours)
        )
    return comparison


def test_every_field_is_typed(seen: dict[str, Any]) -> None:
    """Every field of requests and answers has its field here, or a reason why it has none."""
    comparison = _compared(seen)
    assert [] == comparison.faults
    assert [] == comparison.unused()


def test_every_field_of_a_stream_is_typed(seen: dict[str, Any]) -> None:
    """What an answer holds has its field in a stream's events as well."""
    comparison = _compared(seen, STREAM, STREAM_PAIRS)
    assert [] == comparison.faults
    assert [] == comparison.unused()


def test_it_is_the_newest_client(seen: dict[str, Any]) -> None:
    """The client that is compared with is of release 3.6 at least."""
    release = tuple(int(part) for part in seen["version"].split(".")[:2])
    assert release >= (3, 6)


@pytest.mark.parametrize(
    ("without", "fault"),
    [
        ("Part.part_metadata", "Part.part_metadata is not typed"),
        ("ExecuteRequest.store", "GenerateContentConfig.store is not typed"),
        ("EmbedRequest.document_ocr", "EmbedContentConfig.document_ocr is not typed"),
        ("ToolCall.tool_type_raw", f"{PACKAGE}.ToolCall.tool_type has no _raw twin"),
        (
            "FinishReason.FINISH_REASON_CONTINUATION",
            "FinishReason.CONTINUATION is no value of FinishReason",
        ),
    ],
)
def test_what_is_missing_is_named(seen: dict[str, Any], without: str, fault: str) -> None:
    """A field, a twin or a value that is taken out of the contract fails the comparison."""
    assert [fault] == _compared(seen, without=without).faults


def test_a_field_of_another_kind_is_named(seen: dict[str, Any]) -> None:
    """A field that holds something else than theirs fails the comparison."""
    changed = copy.deepcopy(seen)
    changed["types"]["Segment"]["text"]["kind"] = "int"
    expected = [f"Segment.text is int, and {PACKAGE}.Segment.text is not"]
    assert expected == _compared(changed).faults


def test_a_reason_that_is_not_needed_is_named(seen: dict[str, Any]) -> None:
    """A reason for a field that is typed, or that they do not have, fails the comparison."""
    tables = replace(
        MESSAGES, left_out={**MESSAGES.left_out, "Content.role": "", "Content.gone": ""}
    )
    comparison = _compared(seen, tables)
    assert ["Content.role is typed under its own name: take it out of the tables"] == (
        comparison.faults
    )
    assert ["Content.gone"] == comparison.unused()
