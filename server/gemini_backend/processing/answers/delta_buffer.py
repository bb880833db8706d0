"""The deltas of one answer, collected at next to no cost, and put together once it is there."""

from __future__ import annotations

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.processing.answers.delta_merge import joined
from gemini_backend.processing.answers.extras import merge_extra
from gemini_backend.processing.answers.text_parts import TextJoiner
from gemini_backend.processing.answers.whole_answer import candidates_of

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


class DeltaBuffer:
    """Takes deltas as bytes, so that whoever changes them later on does not change what is held.

    Protobuf puts messages together whose bytes stand one behind the other: parts follow each other,
    of single values the latest counts. That is all there is to do for most answers; what is said
    more than once beside parts, and several candidates, are joined delta by delta.
    """

    __slots__ = ("_data", "_several", "beside")

    def __init__(self) -> None:
        """Begin with nothing."""
        self._data: list[bytes] = []
        self._several = False
        self.beside: pb.ProcessResponse | None = None
        """What deltas say of the answer as a whole; once the candidates were put together."""

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
            self.beside = pb.ProcessResponse()
            merge_extra(self.beside, whole, more_name="response_extra")
            return candidates_of(joined(pb.Delta.FromString(data) for data in self._data))
        said = content.Content()
        joiner = TextJoiner(said.parts)
        for part in whole.parts:
            joiner.add(part)
        joiner.end()
        whole.ClearField("parts")
        (candidate,) = candidates_of([whole])
        if said.parts:
            candidate.content.parts.extend(said.parts)
        return [candidate]
