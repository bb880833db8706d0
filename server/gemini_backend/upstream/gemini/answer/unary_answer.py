"""Answers that come in one body."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini.backend.v1 import execute_service_pb2 as execute
from gemini_backend.errors import EmptyAnswer
from gemini_backend.processing.answers.whole_answer import response_of
from gemini_backend.upstream.gemini.answer import usage
from gemini_backend.upstream.gemini.answer.outcome import AnswerOutcome
from gemini_backend.upstream.gemini.answer.stream_answer import AnswerStream
from gemini_backend.upstream.gemini.answer.untyped_answer import PlainAnswer
from gemini_backend.upstream.gemini.body import REPLACED, Texts, decode, object_of, payloads_of
from gemini_backend.upstream.gemini.translation import free_json, json_to_proto, proto_fields

if TYPE_CHECKING:
    from gemini_backend.upstream.gemini.failure import Failures
    from gemini_backend.upstream.gemini.translation import wire


def response(
    body: bytes, model: str, failures: Failures, *, continued: bool = False
) -> execute.ProcessResponse:
    """Read the whole answer of `model`, or with `continued` a hop of one, in any form.

    Raises:
        ServiceError: it is a failure, blocked, empty, or cannot be read.
    """
    verdict = AnswerOutcome(continued=continued)
    answer = decode.typed(body)
    deltas = None if answer is None else _typed(answer, verdict)
    if deltas is not None:
        return _response(deltas, verdict, model)
    texts = Texts()
    answers, as_events = _answers(body, texts)
    if not answers:
        raise EmptyAnswer("the model API answered 200 with an empty body; retry")
    if len(answers) > 1 or as_events:
        stream = AnswerStream(model, failures, merge=True, continued=continued)
        return _of_pieces(payloads_of(body), stream)
    if decode.has_error(answers[0]):
        raise failures.from_stream(decode.plain(answers[0]), model)
    verdict = AnswerOutcome(continued=continued)
    deltas = _plain(answers[0], verdict)
    texts.mend(deltas)
    for rest in texts.rest():
        _add_rest(deltas, rest)
    if texts.replaced:
        verdict.warnings.append(REPLACED)
    return _response(deltas, verdict, model)


def token_count(body: bytes, model: str, failures: Failures) -> execute.CountTokensResponse:
    """Read a count of tokens.

    Raises:
        ServiceError: it is a failure, or cannot be read.
    """
    if not body:
        raise EmptyAnswer("the model API answered 200 with an empty body; retry")
    found = object_of(body)
    if decode.has_error(found):
        raise failures.from_stream(decode.plain(found), model)
    fields = json_to_proto.fields(execute.CountTokensResponse.DESCRIPTOR, found)
    method = execute.TokenCountMethod.TOKEN_COUNT_METHOD_UPSTREAM
    return execute.CountTokensResponse(**fields, method=method, model=model)


def _response(
    deltas: list[proto_fields.Fields], verdict: AnswerOutcome, model: str
) -> execute.ProcessResponse:
    for delta in deltas:
        verdict.saw(delta)
    failure = verdict.failure()
    if failure is not None:
        raise verdict.attach(failure, ended=True)
    started = verdict.head.tell(model)
    started.update(model_status=verdict.model_status, warnings=verdict.warnings)
    return proto_fields.make(
        execute.ProcessResponse,
        candidates=[proto_fields.candidate(delta) for delta in deltas],
        usage=verdict.used(ended=True),
        prompt_feedback=verdict.feedback,
        started=started,
        **free_json.extra_of(verdict.extra),
    )


def _answers(body: bytes, texts: Texts) -> tuple[list[json_to_proto.Object], bool]:
    """Return the answers in a body, of which there should be one, and whether it has events.

    JSON shows by itself where it ends. Events do not: of these an answer is whole when it has a
    finish reason, as in any stream, be there many or one.
    """
    try:
        return decode.objects(body), False
    except decode.REFUSED:
        payloads = payloads_of(body)
    if len(payloads) == 1:
        return texts.read(payloads[0]), b"data:" in body.partition(payloads[0])[0]
    return [{} for _ in payloads], False


def _of_pieces(payloads: list[bytes], stream: AnswerStream) -> execute.ProcessResponse:
    """Put together an answer that came as a stream although a whole one was asked for."""
    events = stream.feed(payloads)
    if stream.failure is not None:
        raise stream.failure
    events += stream.finish()
    return response_of([event.SerializeToString() for event in events])


def _typed(answer: wire.Answer, verdict: AnswerOutcome) -> list[proto_fields.Fields] | None:
    deltas = []
    for found in answer.candidates:
        delta = proto_fields.delta(found)
        if delta is None:
            return None
        deltas.append(delta)
    proto_fields.number(deltas)
    verdict.head.learn(answer.model_version, answer.response_id, answer.create_time)
    if verdict.head.create_time != (answer.create_time or ""):
        return None
    if answer.usage_metadata is not None:
        verdict.tally.report(answer.usage_metadata)
    return deltas


def _plain(answer: json_to_proto.Object, verdict: AnswerOutcome) -> list[proto_fields.Fields]:
    plain = PlainAnswer(answer)
    verdict.model_status = plain.model_status
    other = verdict.head.learn(*plain.head) or {}
    if plain.usage is not None:
        verdict.tally.add(usage.counted(plain.usage))
    verdict.feedback = plain.take_feedback()
    verdict.extra = {**other, **plain.extra()}
    if plain.refuses():
        raise verdict.attach(verdict.prompt_blocked(), ended=True)
    deltas = [proto_fields.plain_delta(found) for found in plain.candidates]
    proto_fields.number(deltas)
    return deltas


def _add_rest(deltas: list[proto_fields.Fields], rest: proto_fields.Fields) -> None:
    """Put what no piece went on with at the end of its candidate."""
    for delta in deltas:
        if (delta.get("candidate_index") or 0) == rest["candidate_index"]:
            delta["parts"] = [*(delta.get("parts") or ()), *rest["parts"]]
            return
