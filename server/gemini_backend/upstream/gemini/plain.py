"""An answer, or one event of it, as plain JSON: what each of its top fields is good for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gemini.backend.v1 import content_pb2 as pb
from gemini_backend.upstream.gemini import reading

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini_backend.upstream.gemini.pieces import Fields


class PlainAnswer:
    """The top level of an answer; fields that are null count as absent.

    Attributes:
        candidates: The answers, as JSON objects.
        usage: Fields of `Usage`.
        head: Version, id and time.
    """

    __slots__ = ("_feedback", "_rest", "candidates", "head", "usage")

    def __init__(self, answer: dict[str, Any]) -> None:
        """Sort the fields of an answer."""
        self._rest = {name: value for name, value in answer.items() if value is not None}
        self.candidates: list[dict[str, Any]] = self._take("candidates", _is_objects) or []
        counts = self._take("usageMetadata", _is_object)
        self.usage: Fields | None = (
            None if counts is None else reading.fields(pb.Usage.DESCRIPTOR, counts)
        )
        self.head: tuple[str | None, str | None, str | None] = (
            self._take("modelVersion", _is_text),
            self._take("responseId", _is_text),
            self._take("createTime", _is_text),
        )
        feedback: Any = self._rest.get("promptFeedback")
        self._feedback: Fields | None = (
            reading.fields(pb.PromptFeedback.DESCRIPTOR, feedback) if _is_object(feedback) else None
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

    def extra(self) -> Fields:
        """Return every field that has no place in the contract."""
        return reading.free(self._rest)

    def _take(self, name: str, fits: Callable[[Any], bool]) -> Any:
        return self._rest.pop(name) if fits(self._rest.get(name)) else None


def _is_objects(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, dict) for v in value)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)
