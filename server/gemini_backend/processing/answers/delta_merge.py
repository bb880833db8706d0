"""Deltas joined into as few as lose nothing: one a candidate, as a rule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.processing.answers.text_parts import TextJoiner

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from google.protobuf.descriptor import FieldDescriptor
    from google.protobuf.message import Message

# Fields of which the later value stands for both: counts so far, and where it was read.
_LATEST = frozenset({"usage", "upstream_event", "token_count"})
_USUAL = _LATEST | {"parts", "candidate_index", "role"}
# Two fields for one thing: a delta that has one of them does not go on with one that has the other.
_TWINS = {"finish_reason": "finish_reason_raw", "finish_reason_raw": "finish_reason"}


def joined(deltas: Iterable[pb.Delta]) -> list[pb.Delta]:
    """Return deltas that say the same: those of one candidate become one.

    Texts that follow each other become one part. Where two deltas say different things in the same
    place, such as ratings, they stay apart.
    """
    joining = Joining()
    for delta in deltas:
        joining.take(delta)
    return joining.deltas()


class Joining:
    """Joins deltas as they come; holds little more than what they say."""

    __slots__ = ("_latest", "_runs")

    def __init__(self) -> None:
        """Begin with nothing."""
        self._runs: list[_Run] = []
        self._latest: dict[int, _Run] = {}

    def take(self, delta: pb.Delta) -> None:
        """Take the next one, which must not change before the one after it has come."""
        run = self._latest.get(delta.candidate_index)
        if run is None or not run.take(delta):
            run = self._latest[delta.candidate_index] = _Run(delta)
            self._runs.append(run)

    def deltas(self) -> list[pb.Delta]:
        """Return as few as say the same."""
        return [run.delta() for run in self._runs]


def put(message: Message, field: FieldDescriptor, value: Any) -> None:
    """Set a field to a value of another message's field of the same name and type."""
    if field.is_repeated:
        getattr(message, field.name).extend(value)
    elif field.message_type is not None:
        getattr(message, field.name).CopyFrom(value)
    else:
        setattr(message, field.name, value)


class _Run:
    """Deltas of one candidate that go on with each other.

    Most of them are one piece of plain text and counts, like the one before: they are known by
    the fields that are set (`_usual`), and only their text is taken.
    """

    def __init__(self, delta: pb.Delta) -> None:
        self._delta = pb.Delta()
        self._delta.CopyFrom(delta)
        self._delta.ClearField("parts")
        self._parts = TextJoiner(self._delta.parts)
        self._usual: list[Any] | None = None
        self._usual_part: list[Any] | None = None
        self._latest: pb.Delta | None = None  # has counts that are not in `_delta` yet
        for part in delta.parts:
            self._parts.add(part)
        self._learn(delta)

    def take(self, delta: pb.Delta) -> bool:
        fields = delta.ListFields()
        parts = delta.parts
        if len(parts) == 1 and [field for field, _ in fields] == self._usual:
            part = parts[0]
            if (
                [field for field, _ in part.ListFields()] == self._usual_part
                and part.thought == self._delta.parts[-1].thought
                and delta.role == self._delta.role
            ):
                self._parts.texts.append(part.text)
                self._latest = delta
                return True
        if not self._take_slowly(delta, fields):
            return False
        self._learn(delta)
        return True

    def delta(self) -> pb.Delta:
        self._parts.end()
        self._end_counts()
        return self._delta

    def _take_slowly(self, delta: pb.Delta, fields: Sequence[tuple[FieldDescriptor, Any]]) -> bool:
        self._end_counts()
        if self._delta.continuation_token:
            return False  # it leads on behind this piece, and behind no later one
        said = {field.name: value for field, value in self._delta.ListFields()}
        new = []
        for field, value in fields:
            name = field.name
            if name == "parts" or (name in said and said[name] == value):
                continue
            if (name in said and name not in _LATEST) or _TWINS.get(name) in said:
                return False
            new.append((field, value))
        for field, value in new:
            put(self._delta, field, value)
        for part in delta.parts:
            self._parts.add(part)
        return True

    def _learn(self, delta: pb.Delta) -> None:
        """Know the next delta by this one, if there is nothing but text and counts in it."""
        self._usual = self._usual_part = None
        fields = [field for field, _ in delta.ListFields()]
        if self._parts.texts and len(delta.parts) == 1 and {f.name for f in fields} <= _USUAL:
            self._usual = fields
            self._usual_part = [field for field, _ in delta.parts[0].ListFields()]

    def _end_counts(self) -> None:
        if self._latest is not None:
            for field, value in self._latest.ListFields():
                if field.name in _LATEST:
                    put(self._delta, field, value)
            self._latest = None
