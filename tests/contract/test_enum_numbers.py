"""Enum values have Google's numbers wherever Google publishes one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gemini.backend.v1 import content_pb2, execute_service_pb2, file_service_pb2

if TYPE_CHECKING:
    from google.protobuf.descriptor import EnumDescriptor

FIRST_OWN_NUMBER = 100

# google.ai.generativelanguage.v1beta (google-ai-generativelanguage 0.12.1), by the contract's names
PUBLISHED: dict[str, dict[str, int]] = {
    "BlockReason": {
        "SAFETY": 1,
        "OTHER": 2,
        "BLOCKLIST": 3,
        "PROHIBITED_CONTENT": 4,
        "IMAGE_SAFETY": 5,
    },
    "CodeLanguage": {"PYTHON": 1},
    "CodeOutcome": {"OK": 1, "FAILED": 2, "DEADLINE_EXCEEDED": 3},
    "ComputerEnvironment": {"BROWSER": 1},
    "DynamicRetrievalMode": {"DYNAMIC": 1},
    "EmbedTaskType": {
        "RETRIEVAL_QUERY": 1,
        "RETRIEVAL_DOCUMENT": 2,
        "SEMANTIC_SIMILARITY": 3,
        "CLASSIFICATION": 4,
        "CLUSTERING": 5,
        "QUESTION_ANSWERING": 6,
        "FACT_VERIFICATION": 7,
        "CODE_RETRIEVAL_QUERY": 8,
    },
    "FileState": {"PROCESSING": 1, "ACTIVE": 2, "FAILED": 10},
    "FinishReason": {
        "STOP": 1,
        "MAX_TOKENS": 2,
        "SAFETY": 3,
        "RECITATION": 4,
        "OTHER": 5,
        "LANGUAGE": 6,
        "BLOCKLIST": 7,
        "PROHIBITED_CONTENT": 8,
        "SPII": 9,
        "MALFORMED_FUNCTION_CALL": 10,
        "IMAGE_SAFETY": 11,
        "UNEXPECTED_TOOL_CALL": 12,
        "TOO_MANY_TOOL_CALLS": 13,
        "IMAGE_PROHIBITED_CONTENT": 14,
        "IMAGE_OTHER": 15,
        "NO_IMAGE": 16,
        "IMAGE_RECITATION": 17,
    },
    "FunctionBehavior": {"BLOCKING": 1, "NON_BLOCKING": 2},
    "FunctionCallingMode": {"AUTO": 1, "ANY": 2, "NONE": 3, "VALIDATED": 4},
    "FunctionResponseScheduling": {"SILENT": 1, "WHEN_IDLE": 2, "INTERRUPT": 3},
    "HarmBlockThreshold": {
        "BLOCK_LOW_AND_ABOVE": 1,
        "BLOCK_MEDIUM_AND_ABOVE": 2,
        "BLOCK_ONLY_HIGH": 3,
        "BLOCK_NONE": 4,
        "OFF": 5,
    },
    "HarmCategory": {
        "DEROGATORY": 1,
        "TOXICITY": 2,
        "VIOLENCE": 3,
        "SEXUAL": 4,
        "MEDICAL": 5,
        "DANGEROUS": 6,
        "HARASSMENT": 7,
        "HATE_SPEECH": 8,
        "SEXUALLY_EXPLICIT": 9,
        "DANGEROUS_CONTENT": 10,
        "CIVIC_INTEGRITY": 11,
    },
    "HarmProbability": {"NEGLIGIBLE": 1, "LOW": 2, "MEDIUM": 3, "HIGH": 4},
    "MediaResolution": {"LOW": 1, "MEDIUM": 2, "HIGH": 3},
    # of token counts; the response modalities there have AUDIO 3, and one enum has one number
    "Modality": {"TEXT": 1, "IMAGE": 2, "VIDEO": 3, "AUDIO": 4, "DOCUMENT": 5},
    "UrlRetrievalStatus": {"SUCCESS": 1, "ERROR": 2, "PAYWALL": 3, "UNSAFE": 4},
}
# Google has words for these, and publishes no numbers
UNPUBLISHED = {
    "DocumentContentLayer",
    "FeatureSelectionPreference",
    "HarmBlockMethod",
    "HarmSeverity",
    "MediaDelivery",
    "MediaProcessing",
    "ModelStage",
    "PhishBlockThreshold",
    "ProminentPeople",
    "SafetyPolicy",
    "ServiceTier",
    "SpreadsheetContentLayer",
    "ThinkingLevel",
    "ToolType",
    "TrafficType",
    "TranscriptionMode",
    "VideoContentLayer",
}
OWN = {"UsageQuality"}  # of this service, in the file that is otherwise Gemini's

ENUMS: dict[str, EnumDescriptor] = {
    **content_pb2.DESCRIPTOR.enum_types_by_name,
    "EmbedTaskType": execute_service_pb2.EmbedTaskType.DESCRIPTOR,
    "FileState": file_service_pb2.FileState.DESCRIPTOR,
}


def _prefix(enum: EnumDescriptor) -> str:
    zero: str = enum.values_by_number[0].name
    return zero.removesuffix("UNSPECIFIED")


def test_every_enum_of_gemini_is_in_the_tables() -> None:
    """An enum that Gemini has too is one of those whose numbers are known, or known to be none."""
    assert ENUMS.keys() == PUBLISHED.keys() | UNPUBLISHED | OWN


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_numbers_are_those_of_google(name: str) -> None:
    """A value that Google publishes has Google's number."""
    numbers = {
        value.name.removeprefix(_prefix(ENUMS[name])): value.number for value in ENUMS[name].values
    }
    assert PUBLISHED[name] == {word: numbers.get(word) for word in PUBLISHED[name]}


@pytest.mark.parametrize("name", sorted(PUBLISHED.keys() | UNPUBLISHED))
def test_other_numbers_leave_room(name: str) -> None:
    """A value without a published number stands where Google's next ones will not be."""
    known = {f"{_prefix(ENUMS[name])}{word}" for word in PUBLISHED.get(name, {})}
    others = {v.name: v.number for v in ENUMS[name].values if v.number and v.name not in known}
    assert {} == {word: number for word, number in others.items() if number < FIRST_OWN_NUMBER}
