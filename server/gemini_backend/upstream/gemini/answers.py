"""Events of Gemini's into events of the contract, one stream at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as execute
from gemini_backend.errors import EmptyAnswer, PromptBlocked, ServiceError, StreamCut
from gemini_backend.upstream.gemini import decode, free_json, pieces, reading, scalars, usage, wire
from gemini_backend.upstream.gemini.plain import PlainAnswer
from gemini_backend.upstream.gemini.runs import Run
from gemini_backend.upstream.gemini.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gemini_backend.upstream.gemini.failures import Failures
    from gemini_backend.upstream.gemini.pieces import Fields

_HELD_LIMIT = 32


class AnswerStream:
    """One answer as it comes in.

    Pieces that say nothing are held back, at most 32 of them, until one says something: up to then
    the attempt can still fail without the caller having seen any of it.
    """

    __slots__ = (
        "_events",
        "_failures",
        "_held",
        "_joins",
        "_merge",
        "_model",
        "_out",
        "_run",
        "_verdict",
        "failure",
    )

    def __init__(self, model: str, failures: Failures, *, merge: bool) -> None:
        """Read an answer of `model`; `merge` joins texts that are fed together."""
        self._failures = failures
        self._model = model
        self._merge = merge
        self._joins = False  # whether there is anything to merge in this read
        self._verdict = Verdict()
        self._events = 0
        self._held: list[execute.ExecuteResponse] | None = []  # None once the answer has begun
        self._out: list[execute.ExecuteResponse] = []
        self._run: Run | None = None
        self.failure: ServiceError | None = None

    def feed(self, payloads: Sequence[bytes]) -> list[execute.ExecuteResponse]:
        """Take the events of one read and return what the caller gets to see of them.

        When one of them is a failure, `failure` is set, and the rest is not looked at.
        """
        self._joins = self._merge and len(payloads) > 1 and not self._verdict.tally.in_rounds
        try:
            for payload in payloads:
                self._events += 1
                self._take(payload)
            self._end_run()
        except ServiceError as error:
            self._end_run()
            self.failure = self.failed(error)
        out, self._out = self._out, []
        return out

    def finish(self) -> list[execute.ExecuteResponse]:
        """Return the last events of an answer that has come to its end.

        Raises:
            ServiceError: it is not whole, or holds nothing.
        """
        verdict = self._verdict
        if not verdict.began():
            raise self.failed(
                EmptyAnswer("the model API's stream came to its end without any answer; try again")
            )
        if not verdict.finished():
            msg = "the answer's stream ended before the model had finished; try again"
            raise self.failed(StreamCut(msg))
        failure = verdict.failure()
        if failure is not None:
            raise verdict.attach(failure, ended=True)
        if self._held is not None:
            self._begin()
        completed = pieces.make(
            execute.Completed,
            **verdict.finish(),
            usage=verdict.used(ended=True),
            model_status=verdict.model_status,
            model_version=verdict.head.model_version,
            response_id=verdict.head.response_id,
        )
        out, self._out = self._out, []
        return [*out, pieces.make(execute.ExecuteResponse, completed=completed)]

    def whole(self) -> bool:
        """Tell whether the model has finished, whatever became of the connection."""
        return self._verdict.finished()

    def used(self) -> content.Usage | None:
        """Return what has been used so far, estimated; None where nothing was reported."""
        fields = self._verdict.used(ended=False)
        return None if fields is None else pieces.make(content.Usage, **fields)

    def failed(self, error: ServiceError) -> ServiceError:
        """Write into an error what the answer had brought until then, and return it."""
        return self._verdict.attach(error, ended=isinstance(error, PromptBlocked))

    def _take(self, payload: bytes) -> None:
        answer = decode.answer(payload)
        if isinstance(answer, wire.Answer):
            if self._take_typed(answer):
                return
            answer = decode.texts(payload)
        self._end_run()
        self._take_plain(answer, payload)

    def _take_typed(self, answer: wire.Answer) -> bool:
        run = self._run
        if run is not None:
            if self._joins and run.join(answer, self._events):
                return True
            self._joins &= usage.supersedes(answer.usage_metadata, run.answer.usage_metadata)
            self._end_run()
        if self._joins:
            self._run = Run.begin(answer, self._events)
            if self._run is not None:
                return True
        deltas = [pieces.delta(found) for found in answer.candidates]
        if None in deltas:
            return False
        self._put(deltas, answer, self._events)
        return True

    def _end_run(self) -> None:
        run, self._run = self._run, None
        if run is not None:
            self._put([run.delta()], run.answer, run.event)

    def _put(self, deltas: list[Any], answer: wire.Answer, event: int) -> None:
        found = answer.usage_metadata
        counts = None if found is None else usage.of_wire(found)
        other = self._verdict.head.learn(
            answer.model_version, answer.response_id, answer.create_time
        )
        self._send(deltas, counts, other, event)
        if found is not None:
            self._verdict.tally.report(found)

    def _take_plain(self, answer: reading.Object, payload: bytes) -> None:
        if "error" in answer:
            counts = PlainAnswer(answer).usage
            if counts is not None:
                self._verdict.tally.add(usage.counted(counts))
            raise self._failures.from_stream(decode.json_object(payload), self._model)
        verdict = self._verdict
        plain = PlainAnswer(answer)
        verdict.model_status = plain.model_status or verdict.model_status
        other = verdict.head.learn(*plain.head) or {}
        refused = plain.refuses()
        if refused or (verdict.feedback is None and self._held is not None):
            feedback = plain.take_feedback()
            verdict.feedback = verdict.feedback if feedback is None else feedback
        if refused:
            if plain.usage is not None:
                verdict.tally.add(usage.counted(plain.usage))
            verdict.extra = {**other, **plain.extra()}
            raise verdict.prompt_blocked()
        deltas = [pieces.plain_delta(candidate) for candidate in plain.candidates]
        self._send(deltas, plain.usage, {**other, **plain.extra()}, self._events)
        if plain.usage is not None:
            verdict.tally.add(usage.counted(plain.usage))
        verdict.tally.watch(deltas)
        self._joins &= not verdict.tally.in_rounds

    def _send(
        self,
        deltas: list[Fields],
        counts: Fields | None,
        other: reading.Object | None,
        event: int,
    ) -> None:
        verdict = self._verdict
        if not deltas and not other:
            if counts is not None:
                self._emit(pieces.make(execute.ExecuteResponse, usage=counts), says=False)
            return
        first = True
        for delta in deltas or [{}]:
            says = bool(deltas) and verdict.saw(delta)
            if says:
                verdict.tally.missed = True
            fields = {**delta, "upstream_event": event}
            if first:
                first = False
                fields["usage"] = counts
                if other:
                    _put_other(fields, other)
            self._emit(pieces.make(execute.ExecuteResponse, delta=fields), says=says)

    def _emit(self, event: execute.ExecuteResponse, *, says: bool) -> None:
        if self._held is None:
            self._out.append(event)
            return
        self._held.append(event)
        if says or len(self._held) >= _HELD_LIMIT:
            self._begin()

    def _begin(self) -> None:
        started = self._verdict.head.tell(self._model)
        started["prompt_feedback"] = self._verdict.feedback
        started["model_status"] = self._verdict.model_status
        self._out.append(pieces.make(execute.ExecuteResponse, started=started))
        self._out += self._held or ()
        self._held = None


def _put_other(fields: Fields, other: reading.Object) -> None:
    """Tell what an event says of the whole answer that `started` did not say."""
    rest = dict(other)
    version = scalars.text(rest["modelVersion"]) if "modelVersion" in rest else ""
    if isinstance(version, str) and version:
        del rest["modelVersion"]
        fields["model_version"] = version
    fields.update(free_json.extra_of(rest, "response_extra"))
