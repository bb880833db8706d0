"""Answers that come in one body."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini.backend.v1 import execute_service_pb2 as execute
from gemini_backend.errors import EmptyAnswer
from gemini_backend.processing.answers.whole_answer import response_of
from gemini_backend.upstream.gemini.answer import usage
from gemini_backend.upstream.gemini.answer.answer_identity import AnswerIdentity
from gemini_backend.upstream.gemini.answer.outcome import AnswerOutcome
from gemini_backend.upstream.gemini.answer.stream_answer import AnswerStream
from gemini_backend.upstream.gemini.answer.text_merge import ROLES, only_text
from gemini_backend.upstream.gemini.answer.untyped_answer import PlainAnswer
from gemini_backend.upstream.gemini.answer.usage_tally import UsageTally
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
    answer = decode.typed(body)
    if answer is not None:
        told = _text(answer, model)
        if told is not None:
            return told
        verdict = AnswerOutcome(continued=continued)
        deltas = _typed(answer, verdict)
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
    response = proto_fields.make(
        execute.ProcessResponse,
        candidates=[proto_fields.candidate(delta) for delta in deltas],
        usage=verdict.used(ended=True),
        prompt_feedback=verdict.feedback,
        started={"model_status": verdict.model_status, "warnings": verdict.warnings},
        **free_json.extra_of(verdict.extra),
    )
    verdict.head.tell(model, response.started)
    return response


def _text(answer: wire.Answer, model: str) -> execute.ProcessResponse | None:
    """Return what nearly all answers are, one text; None for another, which is read in full."""
    part, found = only_text(answer), answer.candidates[0]
    role = found.content and found.content.role
    if part is None or not part.text or part.thought is not None or role not in ROLES:
        return None
    head = AnswerIdentity()
    head.learn(answer.model_version, answer.response_id, answer.create_time)
    if found.continuation_token is not None or head.create_time != (answer.create_time or ""):
        return None
    response = execute.ProcessResponse()
    candidate = response.candidates.add()
    if found.index is not None:
        candidate.index = found.index
    content = candidate.content
    content.parts.add().text = part.text
    if role is not None:
        content.role = role
    if found.finish_reason is not None:
        for name, value in proto_fields.finish(found.finish_reason).items():
            setattr(candidate, name, value)
    if answer.usage_metadata is not None:
        tally = UsageTally()
        tally.report(answer.usage_metadata)
        tally.put(response.usage, ended=True, said=True)
    head.tell(model, response.started)
    return response


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
