"""The deltas of one answer, collected at next to no cost, and put together once it is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.processing.answers.delta_merge import joined
from gemini_backend.processing.answers.whole_answer import candidates_of

if TYPE_CHECKING:
    from collections.abc import Iterable

# What deltas say of which nothing but the latest counts, or nothing at all, beside their parts.
_SIMPLE = frozenset(
    {
        "parts",
        "role",
        "finish_reason",
        "token_count",
        "candidate_index",
        "usage",
        "upstream_event",
        "model_version",
    }
)
_TEXT = ["text"]
_THOUGHT = (["text", "thought"], ["thought", "text"])


class Pieces:
    """Takes deltas as bytes, so that whoever changes them later on does not change what is held.

    Protobuf puts messages together whose bytes stand one behind the other: parts follow each other,
    of single values the latest counts. That is all there is to do for most answers; what is said
    more than once beside parts, and several candidates, are joined delta by delta.
    """

    __slots__ = ("_data", "_several")

    def __init__(self) -> None:
        """Begin with nothing."""
        self._data: list[bytes] = []
        self._several = False

    def take(self, delta: pb.Delta) -> int:
        """Take the next one; return its size in bytes."""
        data = delta.SerializeToString()
        self._data.append(data)
        if delta.candidate_index:
            self._several = True
        return len(data)

    def candidates(self) -> list[content.Candidate]:
        """Return whole candidates, in the order in which they began."""
        if not self._data:
            return []
        whole = pb.Delta.FromString(b"".join(self._data))
        if self._several or not {field.name for field, _ in whole.ListFields()} <= _SIMPLE:
            return candidates_of(joined(pb.Delta.FromString(data) for data in self._data))
        parts = _joined(whole.parts)
        whole.ClearField("parts")
        (candidate,) = candidates_of([whole])
        if parts:
            candidate.content.parts.extend(parts)
        return [candidate]


def _joined(parts: Iterable[content.Part]) -> list[content.Part]:
    """Return the parts, those that are nothing but text and follow each other as one."""
    made: list[content.Part] = []
    texts: list[str] = []
    voice: object = None
    for part in parts:
        own = _voice(part)
        if texts and own == voice:
            texts.append(part.text)
            continue
        _end(made, texts)
        voice, texts = own, [] if own is None else [part.text]
        made.append(content.Part())
        made[-1].CopyFrom(part)
    _end(made, texts)
    return made


def _voice(part: content.Part) -> tuple[bool, ...] | None:
    """Return what tells plain texts apart, thoughts or not; None for what is no plain text."""
    fields = part.ListFields()
    names = [field.name for field, _ in fields]
    if names == _TEXT:
        return ()
    return (part.thought,) if names in _THOUGHT else None


def _end(made: list[content.Part], texts: list[str]) -> None:
    if len(texts) > 1:
        made[-1].text = "".join(texts)
