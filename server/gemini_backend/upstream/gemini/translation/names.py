"""The names that Gemini's JSON and the contract have for the same things, both ways.

A field is called the same in snake case here and camel case there. A value of an enum carries its
type as a prefix here; on the wire it mostly does not.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

from gemini.backend.v1 import content_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.descriptor import EnumDescriptor

# what the words of an enum begin with on the wire, where they carry their type there too
_PREFIX_ON_WIRE: Mapping[str, str] = {
    "CodeOutcome": "OUTCOME_",
    "ComputerEnvironment": "ENVIRONMENT_",
    "DynamicRetrievalMode": "MODE_",
    "HarmCategory": "HARM_CATEGORY_",
    "HarmSeverity": "HARM_SEVERITY_",
    "MediaResolution": "MEDIA_RESOLUTION_",
    "UrlRetrievalStatus": "URL_RETRIEVAL_STATUS_",
}
_IN_LOWER_CASE = frozenset({"ServiceTier"})
_HUMP = re.compile(r"_([a-z0-9])")
_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@cache
def numbers_by_word(enum: EnumDescriptor) -> dict[str, int]:
    """Return the enum's values by their names on the wire.

    The value 0 is left out: to the contract it means "not said, or see the `_raw` twin".
    """
    own = f"{_WORD.sub('_', enum.name).upper()}_"
    there = _PREFIX_ON_WIRE.get(enum.name, "")
    words = {there + v.name.removeprefix(own): v.number for v in enum.values if v.number}
    if enum.name in _IN_LOWER_CASE:
        return {word.lower(): number for word, number in words.items()}
    return words


@cache
def words_by_number(enum: EnumDescriptor) -> dict[int, str]:
    """Return the names on the wire by the enum's values, 0 left out."""
    return {number: word for word, number in numbers_by_word(enum).items()}


def camel(name: str) -> str:
    """Return a name in camel case."""
    return _HUMP.sub(lambda match: match[1].upper(), name)


def base_of_json(name: str) -> str:
    """Return the field that a `_json` field is the exact text of; empty for any other field."""
    return name.removesuffix("_json") if name.endswith("_json") else ""


FINISH_REASONS = numbers_by_word(pb.FinishReason.DESCRIPTOR)
MODALITIES = numbers_by_word(pb.Modality.DESCRIPTOR)
SERVICE_TIERS = numbers_by_word(pb.ServiceTier.DESCRIPTOR)
TRAFFIC_TYPES = numbers_by_word(pb.TrafficType.DESCRIPTOR)
