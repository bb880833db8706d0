"""The few fields that Gemini nests in another way than the contract does."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from gemini.backend.v1.content_pb2 import MediaResolution
from gemini_backend.upstream.gemini.translation.json_values import refuse
from gemini_backend.upstream.gemini.translation.names import words_by_number

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from google.protobuf.message import Message

    Put = Callable[[dict[str, Any], Any, str], None]
    Write = Callable[[Message, str], dict[str, Any]]


def _put_level(found: dict[str, Any], value: int, path: str) -> None:
    word = _LEVELS.get(value)
    if word is None:
        raise refuse(f"{path}.media_resolution", f"is {value}, which has no name", "enum")
    found.setdefault("mediaResolution", {})["level"] = word


def _put_level_raw(found: dict[str, Any], value: str, _path: str) -> None:
    found.setdefault("mediaResolution", {})["level"] = value


def _put_level_tokens(found: dict[str, Any], value: int, _path: str) -> None:
    found.setdefault("mediaResolution", {})["numTokens"] = value


def _prebuilt(name: str) -> dict[str, Any]:
    return {"prebuiltVoiceConfig": {"voiceName": name}}


def _put_voice(found: dict[str, Any], name: str, _path: str) -> None:
    found["voiceConfig"] = _prebuilt(name)


def _put_custom_voice(found: dict[str, Any], name: str, path: str) -> None:
    _one_voice(found, path)
    found["voiceConfig"] = {"voice": name}


def _put_replicated_voice(write: Write) -> Put:
    def put(found: dict[str, Any], voice: Message, path: str) -> None:
        _one_voice(found, path)
        replicated = write(voice, f"{path}.replicated_voice")
        found["voiceConfig"] = {"replicatedVoiceConfig": replicated}

    return put


def _one_voice(found: dict[str, Any], path: str) -> None:
    if "voiceConfig" in found:
        what = "sets more than one of voice_name, custom_voice and replicated_voice; set one"
        raise refuse(path, what, "voice.one")


def _put_speakers(write: Write) -> Put:
    def put(found: dict[str, Any], voices: Sequence[Message], path: str) -> None:
        found["multiSpeakerVoiceConfig"] = {
            "speakerVoiceConfigs": [
                write(voice, f"{path}.speaker_voices[{i}]") for i, voice in enumerate(voices)
            ]
        }

    return put


def _put_place(axis: str) -> Put:
    def put(found: dict[str, Any], degrees: float, path: str) -> None:
        if not math.isfinite(degrees):
            raise refuse(f"{path}.{axis}", "is not a number of degrees", "json")
        found.setdefault("latLng", {})[axis] = degrees

    return put


def _refuse_chunk(_found: dict[str, Any], _chunk: Any, path: str) -> None:
    what = "is a piece of an answer's blob; concatenate the pieces and set inline_data"
    raise refuse(f"{path}.blob_chunk", what, "part.blob_chunk")


_LEVELS = words_by_number(MediaResolution.DESCRIPTOR)


def shapes(write: Write) -> Mapping[str, Mapping[str, Put]]:
    """Return what writes these fields, by message and field; `write` writes a message in them."""
    level: Mapping[str, Put] = {
        "media_resolution": _put_level,
        "media_resolution_raw": _put_level_raw,
        "media_resolution_tokens": _put_level_tokens,
    }
    voice: Mapping[str, Put] = {
        "voice_name": _put_voice,
        "custom_voice": _put_custom_voice,
        "replicated_voice": _put_replicated_voice(write),
    }
    return {
        "Part": {**level, "blob_chunk": _refuse_chunk},
        "FunctionResponsePart": level,
        "SpeechConfig": {**voice, "speaker_voices": _put_speakers(write)},
        "SpeakerVoice": voice,
        "RetrievalConfig": {
            "latitude": _put_place("latitude"),
            "longitude": _put_place("longitude"),
        },
    }
