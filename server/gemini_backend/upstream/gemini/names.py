"""The names that Gemini's JSON and the contract have for the same things, both ways.

A field is called the same in snake case here and camel case there. A value of an enum carries its
type as a prefix here; on the wire it mostly does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini.backend.v1 import content_pb2 as pb

if TYPE_CHECKING:
    from google.protobuf.descriptor import EnumDescriptor

# enums whose values carry the prefix on the wire, too
_PREFIXED = frozenset({"HarmCategory", "MediaResolution"})
_VALUE_PREFIX = {
    "FinishReason": "FINISH_REASON_",
    "BlockReason": "BLOCK_REASON_",
    "Modality": "MODALITY_",
    "ThinkingLevel": "THINKING_LEVEL_",
    "FunctionCallingMode": "FUNCTION_CALLING_MODE_",
    "HarmProbability": "HARM_PROBABILITY_",
    "HarmBlockThreshold": "HARM_BLOCK_THRESHOLD_",
}


def numbers_by_word(enum: EnumDescriptor) -> dict[str, int]:
    """Return the enum's values by their names on the wire.

    The value 0 is left out: to the contract it means "not said, or see the `_raw` twin".
    """
    prefix = "" if enum.name in _PREFIXED else _VALUE_PREFIX[enum.name]
    return {v.name.removeprefix(prefix): v.number for v in enum.values if v.number}


def words_by_number(enum: EnumDescriptor) -> dict[int, str]:
    """Return the names on the wire by the enum's values, 0 left out."""
    return {number: word for word, number in numbers_by_word(enum).items()}


FINISH_REASONS = numbers_by_word(pb.FinishReason.DESCRIPTOR)
MODALITIES = numbers_by_word(pb.Modality.DESCRIPTOR)
