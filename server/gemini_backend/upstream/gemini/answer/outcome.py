"""What became of an answer: whole, blocked, or empty; never one passed off as another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gemini.backend.v1.content_pb2 import BlockReason, FinishReason
from gemini.backend.v1.error_details_pb2 import ExecutionFailure
from gemini.backend.v1.execute_service_pb2 import Completed, Started
from gemini_backend.errors import (
    AnswerBlocked,
    EmptyAnswer,
    PromptBlocked,
    ServiceError,
    UpstreamReply,
)
from gemini_backend.upstream.gemini.answer.answer_end import Ends, raw_reason
from gemini_backend.upstream.gemini.answer.answer_identity import AnswerIdentity
from gemini_backend.upstream.gemini.answer.usage_tally import UsageTally
from gemini_backend.upstream.gemini.attempts import account_limited
from gemini_backend.upstream.gemini.translation import free_json, proto_fields, words_by_number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gemini_backend.upstream.gemini.translation import Fields, json_to_proto, wire

_FINISH_WORDS = words_by_number(FinishReason.DESCRIPTOR)
_BLOCK_WORDS = words_by_number(BlockReason.DESCRIPTOR)
_KEPT_LIMIT = 32
_CONTINUATION = "CONTINUATION"
_LIMITED = "PUP_LIMITED_DISABLED"
_MAY_BE_EMPTY = frozenset({"MAX_TOKENS", _CONTINUATION})


class AnswerOutcome:
    """Watches the pieces of one answer and says at its end what it was.

    Usable is any text that is no thought, a call, a file, code: anything a caller can do
    something with. An answer with nothing usable is a failure that keeps what did come, except
    where the limit of output tokens was reached: then the caller's own limit was too low, and the
    finish reason says so. Nor is it one where the answer goes on in another request, or went on
    from an earlier one: each of its hops may be empty, and whoever asks for them judges the whole.
    """

    __slots__ = (
        "_continued",
        "_kept",
        "_tokens",
        "ends",
        "extra",
        "feedback",
        "head",
        "model_status",
        "tally",
        "usable",
        "warnings",
    )

    def __init__(self, *, continued: bool = False) -> None:
        """Watch one answer, or with `continued` a hop of one that goes on from an earlier hop."""
        self._continued = continued
        self._tokens: dict[int, bytes] = {}  # by candidate: what its next hop is asked with
        self.head = AnswerIdentity()
        self.tally = UsageTally()
        self.feedback: Fields | None = None
        self.extra: json_to_proto.Object = {}
        self.model_status: Fields | None = None
        self.usable = False
        self.ends = Ends()
        self.warnings: list[Fields] = []  # fields of `Warning`, told with the end
        self._kept: list[Fields] = []  # pieces that say nothing, for the failure they may become

    def saw(self, delta: Fields) -> bool:
        """Take a piece; return whether it says anything, be it only a thought."""
        anything, usable = proto_fields.says(delta.get("parts"))
        self._note_token(delta, says=anything)
        self.ends.saw(delta, says=anything)
        if usable:
            self.usable = True
            self._kept.clear()
        elif not self.usable and len(self._kept) < _KEPT_LIMIT:
            self._kept.append(delta)
        return anything

    def saw_text(
        self, number: int, index: int, counts: wire.Usage | None, finish: Fields | None
    ) -> None:
        """Take an event that is a piece of text and no thought, and may have a finish reason.

        Raises:
            MalformedAnswer: it is of one candidate too many.
        """
        self.ends.saw_text(number, index, counts, finish)
        if not self.usable:
            self.usable = True
            self._kept.clear()
        if self._tokens:
            self._tokens.pop(index, None)
        self.tally.missed = True
        if counts is not None:
            self.tally.report(counts)

    def _note_token(self, delta: Fields, *, says: bool) -> None:
        """Keep the token that leads on behind all that was said: one with more behind it does not.

        Gemini gives tokens within a hop as well, to be gone on from where it breaks off there.
        """
        index = delta.get("candidate_index") or 0
        if "continuation_token" in delta:
            self._tokens[index] = delta["continuation_token"]
        elif says:
            self._tokens.pop(index, None)

    def end(self) -> Fields:
        """Return how the first candidate ended, as fields of `Completed`."""
        index, found = self.ends.first(), self.ends.reason()
        if index in self._tokens and _word(found) == _CONTINUATION:
            found["continuation_token"] = self._tokens[index]
        return found

    def failure(self) -> ServiceError | None:
        """Return what the answer must fail with although it came to its end; None when good."""
        if self.usable:
            return None
        reasons = [_word(end) for end in self.ends.finishes()]
        reason = next((word for word in reasons if word not in {"", "STOP"}), None)
        if reason == _LIMITED:
            return account_limited(self.reply())
        if (self._continued and reasons) or not _MAY_BE_EMPTY.isdisjoint(reasons):
            return None
        if reason is None:
            return EmptyAnswer(
                "the model ended its answer without any content; retry",
                upstream=self.reply(),
            )
        return AnswerBlocked(
            f"the model stopped without an answer, reason {reason}; change the prompt, the tools "
            "or the safety settings",
            upstream=self.reply(),
        )

    def prompt_blocked(self) -> PromptBlocked:
        """Return the failure that a refused prompt is."""
        feedback = self.feedback or {}
        reason = feedback.get("block_reason_raw") or _BLOCK_WORDS[feedback["block_reason"]]
        return PromptBlocked(
            f"the model API blocked the prompt, reason {reason}; change the prompt or the safety "
            "settings",
            upstream=self.reply(),
        )

    def reply(self) -> UpstreamReply:
        """Return what came with an answer that was none, and has no place in the failure."""
        rest = free_json.extra_of(self.extra).get("extra", {})
        return UpstreamReply(http_status=200, extra={**self.head.as_json(), **rest})

    def used(self, *, ended: bool) -> Fields | None:
        """Return the fields of `Usage` of an answer that has ended, or was cut; None for none."""
        if self.tally.empty:
            return None
        return self.tally.came_to(ended=ended, said=self.usable)

    def put_start(self, started: Started, model: str) -> None:
        """Write what is known of an answer of `model` when it begins."""
        self.head.tell(model, started)
        if self.feedback is not None or self.model_status is not None:
            beside = {"prompt_feedback": self.feedback, "model_status": self.model_status}
            started.MergeFrom(proto_fields.make(Started, **beside))

    def put_end(self, completed: Completed, *, ended: bool) -> None:
        """Write what is known of a stream when it is over; it may not have come to its end."""
        for name, value in self.end().items():
            if value:
                setattr(completed, name, value)
        completed.model_version = self.head.model_version
        completed.response_id = self.head.response_id
        if not self.tally.empty:
            self.tally.put(completed.usage, ended=ended, said=self.usable)
        if self.model_status is not None or self.warnings:
            beside = {"model_status": self.model_status, "warnings": self.warnings}
            completed.MergeFrom(proto_fields.make(Completed, **beside))

    def attach(self, error: ServiceError, *, ended: bool) -> ServiceError:
        """Write into an error what the answer had brought until then."""
        failure = proto_fields.make(
            ExecutionFailure,
            usage=self.used(ended=ended),
            prompt_feedback=self.feedback,
        )
        if isinstance(error, AnswerBlocked | EmptyAnswer):
            for fields in _joined(self._kept):
                failure.candidates.add(**fields)
            end = next(iter(self.ends.finishes()), {})
            for name in ("finish_reason", "finish_reason_raw", "finish_message"):
                if end.get(name):
                    setattr(failure, name, end[name])
        error.failure = failure
        return error


def _word(end: Mapping[str, Any]) -> str:
    return raw_reason(end) or _FINISH_WORDS.get(end.get("finish_reason") or 0, "")


def _joined(deltas: list[Fields]) -> list[Fields]:
    """Put the pieces of each candidate together; what comes later wins, parts are kept all."""
    by_index: dict[int, Fields] = {}
    for delta in deltas:
        whole = by_index.setdefault(delta.get("candidate_index") or 0, {})
        parts = [*(whole.get("parts") or ()), *(delta.get("parts") or ())]
        whole.update({k: v for k, v in delta.items() if v is not None})
        whole["parts"] = parts or None
    return [proto_fields.candidate(whole) for whole in by_index.values()]
