"""Events of Gemini's into events of the contract, one stream at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as execute
from gemini_backend.errors import (
    EmptyAnswer,
    MalformedAnswer,
    PromptBlocked,
    ServiceError,
    StreamCut,
)
from gemini_backend.processing.answers.endings import END_NOT_SEEN, is_finish
from gemini_backend.upstream.gemini.answer import usage
from gemini_backend.upstream.gemini.answer.outcome import AnswerOutcome
from gemini_backend.upstream.gemini.answer.text_merge import ROLES, Run, only_text
from gemini_backend.upstream.gemini.answer.untyped_answer import PlainAnswer
from gemini_backend.upstream.gemini.body import REPLACED, Texts, decode
from gemini_backend.upstream.gemini.translation import free_json, proto_fields, scalars

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gemini_backend.upstream.gemini.failure import Failures
    from gemini_backend.upstream.gemini.translation import Fields, json_to_proto, wire

# Pieces that say nothing, one behind the other. Counts that come alone replace each other.
_HELD_LIMIT = 1024
# Finish reasons without any text that are handed on at once: as many as an answer may need.
_FINISHES = 16
_LAST_WORDS = (b"[DONE]", b"DONE")  # the second is what an array of one word holds
_TRAILING = {
    "code": "TRAILING_DATA",
    "message": "after the end of the answer the model API sent data that cannot be parsed",
}


class AnswerStream:
    """One answer as it comes in.

    Pieces that say nothing are held back until one says something. Up to the first one the attempt
    can still fail without the caller having seen any of it; and those further out, who limit the
    time to the first token and the silence after it, see nothing that is not part of the answer.
    An answer with more than 1,024 of such pieces in a row is malformed. Once it has begun, its
    finish reasons are not held back.
    """

    __slots__ = (
        "_begun",
        "_events",
        "_failures",
        "_finishes",
        "_held",
        "_joins",
        "_merge",
        "_model",
        "_out",
        "_run",
        "_texts",
        "_trailing",
        "_verdict",
        "done",
        "failure",
        "of_request",
    )

    def __init__(
        self, model: str, failures: Failures, *, merge: bool, continued: bool = False
    ) -> None:
        """Read an answer of `model`; `merge` joins texts that are fed together.

        With `continued` it is a hop of a long answer that goes on from an earlier one.
        """
        self._failures = failures
        self._model = model
        self._merge = merge
        self._joins = False  # whether there is anything to merge in this read
        self._verdict = AnswerOutcome(continued=continued)
        self._events = 0
        self._begun = False  # whether the caller has been given anything
        self._finishes = 0  # that were handed on though they say nothing
        self._held: list[execute.ExecuteResponse] = []
        self._out: list[execute.ExecuteResponse] = []
        self._run: Run | None = None
        self._texts = Texts()
        self._trailing: MalformedAnswer | None = None  # what cannot be read, after the end
        self.done = False  # the server has said itself that nothing more comes
        self.failure: ServiceError | None = None
        self.of_request: Sequence[execute.Warning] = ()  # what to warn of with the first event

    def feed(self, payloads: Sequence[bytes]) -> list[execute.ExecuteResponse]:
        """Take the events of one read and return what the caller gets to see of them.

        When one of them is a failure, `failure` is set, and the rest is not looked at.
        """
        self._joins = self._merge and len(payloads) > 1 and not self._verdict.tally.in_rounds
        try:
            taken = self._take_together(payloads) if self._joins else 0
            for payload in payloads[taken:] if taken else payloads:
                self._events += 1
                self._take(payload)
            if self._run is not None:
                self._end_run()
        except ServiceError as error:
            self._end_run()
            if self._begun:
                self._hand_out()
            self.failure = self.failed(error)
        out, self._out = self._out, []
        return out

    def finish(self, cut: ServiceError | None = None) -> list[execute.ExecuteResponse]:
        """Return the last events of an answer, the body of which has ended, or was `cut`.

        Raises:
            ServiceError: the answer is not whole, or holds nothing.
        """
        verdict, ends = self._verdict, self._verdict.ends
        if cut is not None and self.done and ends.all_ended():
            cut = None
        doubt = cut or self._trailing
        if doubt is not None and not ends.look_whole():
            raise self.failed(doubt)
        if not ends.began():
            raise self.failed(EmptyAnswer("the model API's stream ended without any answer; retry"))
        if not ends.all_ended():
            msg = "the answer's stream ended before the model had finished; retry"
            raise self.failed(StreamCut(msg))
        for delta in self._texts.rest() if self._texts.pending else ():
            fields = {**delta, "upstream_event": self._events}
            says = verdict.saw(delta)
            self._emit(proto_fields.make(execute.ExecuteResponse, delta=fields), says=says)
        failure = verdict.failure()
        if failure is not None:
            raise verdict.attach(failure, ended=cut is None)
        self._hand_out()
        self._warn(cut)
        last = execute.ExecuteResponse()
        verdict.put_end(last.completed, ended=cut is None)
        out, self._out = self._out, []
        out.append(last)
        return out

    def looks_whole(self) -> bool:
        """Tell whether the answer may be taken as whole if its body breaks off now."""
        return self.done or self._verdict.ends.look_whole()

    def _warn(self, cut: ServiceError | None) -> None:
        warnings = self._verdict.warnings
        if self._texts.replaced:
            warnings.append(REPLACED)
        if self._trailing is not None:
            warnings.append(_TRAILING)
        if cut is not None:
            message = f"{END_NOT_SEEN.message} ({type(cut).__name__})"
            warnings.append({"code": END_NOT_SEEN.code, "message": message})

    def used(self) -> content.Usage | None:
        """Return what has been used so far, estimated; None where nothing was reported."""
        fields = self._verdict.used(ended=False)
        return None if fields is None else proto_fields.make(content.Usage, **fields)

    def failed(self, error: ServiceError) -> ServiceError:
        """Write into an error what the answer had brought until then, and return it."""
        return self._verdict.attach(error, ended=isinstance(error, PromptBlocked))

    def _take_together(self, payloads: Sequence[bytes]) -> int:
        """Take the first events of a read, as far as they are as usual; return how many."""
        answers = () if self._texts.pending else decode.typed_all(payloads)
        taken, count = 0, len(answers)
        while taken < count:
            self._events += 1
            if not self._take_typed(answers[taken]):
                self._events -= 1  # it is taken in the other way
                break
            taken += 1
            if self._run is not None and taken < count:
                joined = self._run.join(answers[taken:])
                self._events += joined
                taken += joined
        return taken

    def _take(self, payload: bytes) -> None:
        answer = None if self._texts.pending else decode.typed(payload)
        if answer is not None and self._take_typed(answer):
            return
        self._end_run()
        words = payload.strip()
        if not words or words in _LAST_WORDS:
            self.done = self.done or bool(words)
            return
        try:
            answers = self._texts.read(payload)
        except MalformedAnswer as error:
            if not self._verdict.ends.all_ended() or b'"candidates"' in payload:
                raise
            self._trailing = self._trailing or error
            return
        for number, found in enumerate(answers):
            self._events += number > 0
            self._take_plain(found)

    def _take_typed(self, answer: wire.Answer) -> bool:
        run = self._run
        if run is not None:
            if self._joins and run.join((answer,)):
                return True
            self._joins &= usage.supersedes(answer.usage_metadata, run.answer.usage_metadata)
            self._end_run()
        if self._joins:
            self._run = Run.begin(answer, self._events)
            if self._run is not None:
                return True
        elif self._take_text(answer, self._events):
            return True
        deltas = [proto_fields.delta(found) for found in answer.candidates]
        if None in deltas:
            return False
        self._put(deltas, answer, self._events)
        return True

    def _take_text(self, answer: wire.Answer, number: int) -> bool:
        """Hand on what nearly all events are: a text, perhaps the last one, and nothing beside it.

        Returns False for another, of which nothing has been taken.
        """
        part = only_text(answer)
        if part is None or not part.text or part.thought is not None:
            return False
        found, counts, verdict = answer.candidates[0], answer.usage_metadata, self._verdict
        index, role, word = found.index, found.content and found.content.role, found.finish_reason
        if (
            found.continuation_token is not None
            or role not in ROLES
            or self._trailing is not None
            or verdict.head.learn(answer.model_version, answer.response_id, answer.create_time)
        ):
            return False
        finish = None if word is None else proto_fields.finish(word)
        verdict.saw_text(number, index or 0, counts, finish)
        self.done = False
        event = execute.ExecuteResponse()
        delta = event.delta
        delta.parts.add().text = part.text
        delta.upstream_event = number
        if index is not None:
            delta.candidate_index = index
        if role is not None:
            delta.role = role
        if finish is not None:
            for name, value in finish.items():
                setattr(delta, name, value)
        if counts is not None:
            usage.put(delta.usage, counts)
        if self._begun and not self._held:
            self._out.append(event)
        else:
            self._emit(event, says=True)
        return True

    def _end_run(self) -> None:
        run, self._run = self._run, None
        if run is not None:
            answer = run.joined()
            if not self._take_text(answer, run.event):
                self._put([proto_fields.delta(answer.candidates[0])], answer, run.event)

    def _put(self, deltas: list[Any], answer: wire.Answer, event: int) -> None:
        found = answer.usage_metadata
        counts = None if found is None else usage.of_wire(found)
        other = self._verdict.head.learn(
            answer.model_version, answer.response_id, answer.create_time
        )
        self._verdict.ends.begin_event(event, counts)
        self._send(deltas, counts, other, event)
        if found is not None:
            self._verdict.tally.report(found)

    def _take_plain(self, answer: json_to_proto.Object) -> None:
        plain = PlainAnswer(answer)
        counts = None if plain.usage is None else usage.counted(plain.usage)
        if decode.has_error(answer):
            self._count(counts)
            raise self._failures.from_stream(decode.plain(answer), self._model)
        verdict = self._verdict
        verdict.ends.begin_event(self._events, counts)
        verdict.model_status = plain.model_status or verdict.model_status
        other = verdict.head.learn(*plain.head) or {}
        refused = plain.refuses()
        if refused or (verdict.feedback is None and not self._begun):
            feedback = plain.take_feedback()
            verdict.feedback = verdict.feedback if feedback is None else feedback
        if refused:
            self._count(counts)
            verdict.extra = {**other, **plain.extra()}
            raise verdict.prompt_blocked()
        deltas = [proto_fields.plain_delta(candidate) for candidate in plain.candidates]
        self._texts.mend(deltas)
        self._send(deltas, plain.usage, {**other, **plain.extra()}, self._events)
        self._count(counts)
        verdict.tally.watch(deltas)
        self._joins &= not verdict.tally.in_rounds

    def _count(self, counts: Fields | None) -> None:
        if counts is not None:
            self._verdict.tally.add(counts)

    def _send(
        self,
        deltas: list[Fields],
        counts: Fields | None,
        other: json_to_proto.Object | None,
        event: int,
    ) -> None:
        verdict = self._verdict
        if not deltas and not other:
            if counts is not None:
                if self._held and self._held[-1].HasField("usage"):
                    self._held.pop()
                self._emit(proto_fields.make(execute.ExecuteResponse, usage=counts), says=False)
            return
        first = True
        for delta in deltas or [{}]:
            says = bool(deltas) and verdict.saw(delta)
            if says:
                self.done = False
                verdict.tally.missed = True
                if self._trailing is not None:
                    raise self._trailing  # it stood in the middle of the answer
            fields = {**delta, "upstream_event": event}
            if first:
                first = False
                fields["usage"] = counts
                if other:
                    _put_other(fields, other)
            self._emit(proto_fields.make(execute.ExecuteResponse, delta=fields), says=says)

    def _emit(self, event: execute.ExecuteResponse, *, says: bool) -> None:
        if says and self._begun and not self._held:
            self._out.append(event)
            return
        self._held.append(event)
        if says or (self._begun and self._is_early_finish(event)):
            self._hand_out()
        elif len(self._held) > _HELD_LIMIT:
            raise MalformedAnswer(
                f"the model API sent more than {_HELD_LIMIT} events in a row that say nothing; "
                "retry"
            )

    def _is_early_finish(self, event: execute.ExecuteResponse) -> bool:
        """Say whether a piece without content has a finish reason, one of the first few."""
        if self._finishes < _FINISHES and event.HasField("delta") and is_finish(event.delta):
            self._finishes += 1
            return True
        return False

    def _hand_out(self) -> None:
        if not self._begun:
            self._begun = True
            event = execute.ExecuteResponse()
            self._verdict.put_start(event.started, self._model)
            if self.of_request:
                event.started.warnings.extend(self.of_request)
            self._out.append(event)
        self._out += self._held
        self._held = []


def _put_other(fields: Fields, other: json_to_proto.Object) -> None:
    """Tell what an event says of the whole answer that `started` did not say."""
    rest = dict(other)
    version = scalars.text(rest["modelVersion"]) if "modelVersion" in rest else ""
    if isinstance(version, str) and version:
        del rest["modelVersion"]
        fields["model_version"] = version
    fields.update(free_json.extra_of(rest, "response_extra"))
