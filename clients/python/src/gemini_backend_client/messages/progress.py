"""How an answer is put together from a stream. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any

from gemini.backend.v1.content_pb2 import Candidate, Content, FinishReason, Part
from gemini.backend.v1.execute_service_pb2 import ProcessResponse
from gemini_backend_client.messages.answer import Answer, text_of
from gemini_backend_client.messages.texts import fields_of, merge, put

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gemini.backend.v1.content_pb2 import Usage
    from gemini.backend.v1.execute_service_pb2 import Completed, Delta, ExecuteResponse, Started

__all__ = ["Progress"]

_REPLACED = ("finish_message", "avg_logprobs", "token_count")
_NOT_A_FINISH = "FINISH_REASON_UNSPECIFIED"
_STOP = FinishReason.FINISH_REASON_STOP
# Where a delta has what the turn holds beside parts and role.
_TURN = "content"
_MERGED = ("citation_metadata", "grounding_metadata", "url_context_metadata", "logprobs_result")


@dataclass(slots=True)
class _Voice:
    """One candidate so far. Its parts are joined once, at the end, not over and over."""

    closing: Candidate
    parts: list[Part] = field(default_factory=list)


class Progress:
    """How far a stream has come: fed with its events, it keeps the answer so far.

    Attributes:
        execution_id: the execution's name, `executions/{execution}`, as in the server's log; empty
            until the server has named it.
        last_sequence: the last event that arrived; 0 before the first.
        started: which model serves, cache, warnings; None before it arrived.
        usage: the tokens so far, as last reported; None before any report.
        completed: finish reason, cost, timing, attempts; None before the end.
    """

    def __init__(self) -> None:
        """Begin before the first event."""
        self.execution_id = ""
        self.last_sequence = 0
        self.started: Started | None = None
        self.usage: Usage | None = None
        self.completed: Completed | None = None
        self._voices: dict[int, _Voice] = {}
        self._beside = ProcessResponse()  # holds what is beside the candidates

    def take(self, event: ExecuteResponse) -> str:
        """Note one event; return what it adds to the first candidate's text, thoughts aside."""
        self.execution_id = event.execution
        self.last_sequence = event.sequence
        match event.WhichOneof("event"):
            case "started":
                self.started = event.started
            case "delta":
                return self._take_delta(event.delta)
            case "usage":
                self.usage = event.usage
            case "completed":
                self.completed = event.completed
                if event.completed.HasField("usage"):
                    self.usage = event.completed.usage
        return ""

    def answer(self) -> Answer:
        """Return the answer as far as it has come."""
        response = ProcessResponse(execution=self.execution_id)
        response.MergeFrom(self._beside)
        for _, voice in sorted(self._voices.items()):
            candidate = response.candidates.add()
            candidate.CopyFrom(voice.closing)
            candidate.content.parts.extend(_joined(voice.parts))
        if self.started is not None:
            response.started.CopyFrom(self.started)
            if self.started.HasField("prompt_feedback"):
                response.prompt_feedback.CopyFrom(self.started.prompt_feedback)
        if self.usage is not None:
            response.usage.CopyFrom(self.usage)
        if self.completed is not None:
            _note_end(response, self.completed)
            response.timing.CopyFrom(self.completed.timing)
            response.attempts.extend(self.completed.attempts)
            response.continuations = self.completed.continuations
            response.started.warnings.extend(self.completed.warnings)
            if self.completed.HasField("cost"):
                response.cost.CopyFrom(self.completed.cost)
        return Answer(response)

    def _take_delta(self, delta: Delta) -> str:
        index = delta.candidate_index
        voice = self._voices.get(index)
        if voice is None:
            voice = self._voices[index] = _Voice(Candidate(index=index))
            voice.closing.content.role = "model"
        voice.parts.extend(delta.parts)
        _note_closing_fields(voice.closing, delta)
        if delta.HasField("usage"):
            self.usage = delta.usage
        merge(self._beside, delta, more_name="response_extra")
        return text_of(delta, thought=False) if index == 0 else ""


def _note_closing_fields(candidate: Candidate, delta: Delta) -> None:
    """Take over what stands beside a delta's parts: later values win, lists grow."""
    if delta.finish_reason or delta.finish_reason_raw not in {"", _NOT_A_FINISH}:
        # more pieces may follow one with a reason; the last reason counts
        candidate.finish_reason = delta.finish_reason
        candidate.finish_reason_raw = delta.finish_reason_raw
    if delta.continuation_token or delta.parts or candidate.finish_reason == _STOP:
        # a token leads on behind all that was said, or not at all
        candidate.continuation_token = delta.continuation_token
    for name in _REPLACED:
        if value := getattr(delta, name):
            setattr(candidate, name, value)
    if delta.HasField("role"):
        candidate.content.role = delta.role
    if delta.safety_ratings:
        del candidate.safety_ratings[:]
        candidate.safety_ratings.extend(delta.safety_ratings)
    for present, value in delta.ListFields():
        if present.name in _MERGED:
            _add(getattr(candidate, present.name), value)
    if delta.extra_json or delta.HasField("extra"):
        merge(candidate, delta)
        _give_turn_its_own(candidate)


def _add(message: Any, more: Any) -> None:
    """Add a message to another: lists grow, later values win, free JSON is put together."""
    extra = type(message)()
    merge(extra, message)
    merge(extra, more)
    message.MergeFrom(more)
    message.extra_json = extra.extra_json
    if extra.HasField("extra"):
        message.extra.CopyFrom(extra.extra)
    else:
        message.ClearField("extra")


def _give_turn_its_own(candidate: Candidate) -> None:
    """Move what the turn has beside parts and role to where a whole answer has it."""
    fields = fields_of(candidate.extra_json) if candidate.extra_json else {}
    own = fields.pop(_TURN, "")
    if not own.startswith("{"):
        return
    turn, rest = Content(extra_json=own), candidate.extra if candidate.HasField("extra") else None
    if rest is not None and _TURN in rest.fields:
        turn.extra.CopyFrom(rest.fields.pop(_TURN).struct_value)
    if fields_of(own):
        merge(candidate.content, turn)
    if fields:
        put(candidate, fields, rest, "extra")
    else:
        candidate.ClearField("extra")
        candidate.extra_json = ""


def _note_end(response: ProcessResponse, completed: Completed) -> None:
    """Take over why the first candidate stopped, where its own deltas did not say."""
    for candidate in response.candidates[:1]:
        if not (candidate.finish_reason or candidate.finish_reason_raw):
            candidate.finish_reason = completed.finish_reason
            candidate.finish_reason_raw = completed.finish_reason_raw


def _joined(parts: list[Part]) -> Iterator[Part]:
    """Give pieces of plain text in a row as one part, and chunks of a blob as that blob.

    Every other part stays as it came: a part with a signature, or with anything else of its own,
    is never merged, since it must go back to the model unchanged.
    """
    whole_parts = list(_with_whole_blobs(parts))
    for (plain, thought), row in groupby(
        whole_parts, key=lambda part: (_is_plain(part), part.thought)
    ):
        if not plain:
            yield from row
            continue
        whole = Part(text="".join(part.text for part in row))
        if thought:
            whole.thought = True
        yield whole


def _with_whole_blobs(parts: list[Part]) -> Iterator[Part]:
    """Give the parts, chunks of one blob put together; a blob that is not whole stays in chunks."""
    chunks: list[Part] = []
    for part in parts:
        if not part.HasField("blob_chunk"):
            yield from chunks
            chunks = []
            yield part
            continue
        if part.blob_chunk.offset == 0:
            yield from chunks
            chunks = []
        chunks.append(part)
        if part.blob_chunk.last:
            yield _whole_blob(chunks)
            chunks = []
    yield from chunks


def _whole_blob(chunks: list[Part]) -> Part:
    last = chunks[-1].blob_chunk
    whole = Part()
    whole.CopyFrom(chunks[-1])
    whole.inline_data.mime_type = last.mime_type
    whole.inline_data.data = b"".join(part.blob_chunk.data for part in chunks)
    if last.HasField("display_name"):
        whole.inline_data.display_name = last.display_name
    if last.HasField("extra"):
        whole.inline_data.extra.CopyFrom(last.extra)
    whole.inline_data.extra_json = last.extra_json
    return whole


def _is_plain(part: Part) -> bool:
    return all(present.name in {"text", "thought"} for present, _ in part.ListFields())
