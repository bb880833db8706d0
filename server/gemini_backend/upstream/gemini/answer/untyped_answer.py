"""An answer, or one event of it, as plain JSON: what each of its top fields is good for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from gemini.backend.v1 import content_pb2 as pb
from gemini_backend.errors import MalformedAnswer
from gemini_backend.upstream.gemini.answer import usage
from gemini_backend.upstream.gemini.translation import json_to_proto, scalars, wire

if TYPE_CHECKING:
    from gemini_backend.upstream.gemini.translation import Fields

_NO_LIST = msgspec.Raw(b"{}")


def too_many_candidates() -> MalformedAnswer:
    """Return the failure of an answer with more candidates than any model gives."""
    return MalformedAnswer(
        f"the model API sent more than {wire.MOST_CANDIDATES} candidates in one answer; retry"
    )


class PlainAnswer:
    """The top level of an answer; fields that are null count as absent.

    Attributes:
        candidates: The answers, each the text of a JSON object.
        usage: Fields of `Usage`.
        head: Version, id and time.
        model_status: Fields of `ModelStatus`.
    """

    __slots__ = ("_feedback", "_rest", "candidates", "head", "model_status", "usage")

    def __init__(self, answer: json_to_proto.Object) -> None:
        """Sort the fields of an answer.

        Raises:
            MalformedAnswer: it has too many candidates, or parts.
        """
        self._rest = {name: text for name, text in answer.items() if bytes(text) != b"null"}
        self.candidates: list[msgspec.Raw] = self._candidates()
        counts = self._take("usageMetadata")
        self.usage: Fields | None = None if counts is None else usage.fields(counts)
        self.head: tuple[str | None, str | None, str | None] = (
            self._take_text("modelVersion"),
            self._take_text("responseId"),
            self._take_text("createTime"),
        )
        status = self._take("modelStatus")
        self.model_status: Fields | None = (
            None if status is None else json_to_proto.fields(pb.ModelStatus.DESCRIPTOR, status)
        )
        feedback = self._rest.get("promptFeedback")
        self._feedback: Fields | None = (
            json_to_proto.fields(pb.PromptFeedback.DESCRIPTOR, feedback)
            if feedback is not None and json_to_proto.is_object(feedback)
            else None
        )

    def refuses(self) -> bool:
        """Tell whether this says that the prompt is blocked, and nothing else."""
        found = self._feedback or {}
        return not self.candidates and ("block_reason" in found or "block_reason_raw" in found)

    def take_feedback(self) -> Fields | None:
        """Return what Gemini thought of the prompt, which then is not told of in `extra`."""
        if self._feedback is not None:
            self._rest.pop("promptFeedback", None)
        return self._feedback

    def extra(self) -> json_to_proto.Object:
        """Return every field that has no place in the contract, as text."""
        return self._rest

    def _candidates(self) -> list[msgspec.Raw]:
        found = json_to_proto.objects_of(self._rest.get("candidates", _NO_LIST))
        if len(found) > wire.MOST_CANDIDATES:
            raise too_many_candidates()
        if found:
            del self._rest["candidates"]
        return found

    def _take(self, name: str) -> msgspec.Raw | None:
        text = self._rest.get(name)
        return self._rest.pop(name) if text is not None and json_to_proto.is_object(text) else None

    def _take_text(self, name: str) -> str | None:
        value = scalars.text(self._rest[name]) if name in self._rest else None
        if not value or value is scalars.UNFIT:
            return None
        del self._rest[name]
        return str(value)
