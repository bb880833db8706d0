"""Answers that come in one body."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini.backend.v1 import execute_service_pb2 as execute
from gemini_backend.errors import EmptyAnswer
from gemini_backend.upstream.gemini import decode, free_json, pieces, reading, usage, wire
from gemini_backend.upstream.gemini.plain import PlainAnswer
from gemini_backend.upstream.gemini.verdict import Verdict

if TYPE_CHECKING:
    from gemini_backend.upstream.gemini.failures import Failures


def response(body: bytes, model: str, failures: Failures) -> execute.ProcessResponse:
    """Read the whole answer of `model`.

    Raises:
        ServiceError: it is a failure, blocked, empty, or cannot be read.
    """
    if not body:
        raise EmptyAnswer("the model API answered 200 with an empty body; try again")
    answer = decode.answer(body)
    verdict = Verdict()
    if isinstance(answer, dict) and "error" in answer:
        raise failures.from_stream(decode.json_object(body), model)
    deltas = _typed(answer, verdict) if isinstance(answer, wire.Answer) else None
    if deltas is None:
        deltas = _plain(decode.texts(body), verdict)
    for delta in deltas:
        verdict.saw(delta)
    failure = verdict.failure()
    if failure is not None:
        raise verdict.attach(failure, ended=True)
    return pieces.make(
        execute.ProcessResponse,
        candidates=[pieces.candidate(delta) for delta in deltas],
        usage=verdict.used(ended=True),
        prompt_feedback=verdict.feedback,
        started={**verdict.head.tell(model), "model_status": verdict.model_status},
        **free_json.extra_of(verdict.extra),
    )


def token_count(body: bytes, model: str, failures: Failures) -> execute.CountTokensResponse:
    """Read a count of tokens.

    Raises:
        ServiceError: it is a failure, or cannot be read.
    """
    if not body:
        raise EmptyAnswer("the model API answered 200 with an empty body; try again")
    found = decode.json_object(body)
    if "error" in found:
        raise failures.from_stream(found, model)
    fields = reading.fields(execute.CountTokensResponse.DESCRIPTOR, body)
    method = execute.TokenCountMethod.TOKEN_COUNT_METHOD_UPSTREAM
    return execute.CountTokensResponse(**fields, method=method, model=model)


def _typed(answer: wire.Answer, verdict: Verdict) -> list[pieces.Fields] | None:
    deltas = []
    for found in answer.candidates:
        delta = pieces.delta(found)
        if delta is None:
            return None
        deltas.append(delta)
    verdict.head.learn(answer.model_version, answer.response_id, answer.create_time)
    if verdict.head.create_time != (answer.create_time or ""):
        return None
    if answer.usage_metadata is not None:
        verdict.tally.report(answer.usage_metadata)
    return deltas


def _plain(answer: reading.Object, verdict: Verdict) -> list[pieces.Fields]:
    plain = PlainAnswer(answer)
    verdict.model_status = plain.model_status
    other = verdict.head.learn(*plain.head) or {}
    if plain.usage is not None:
        verdict.tally.add(usage.counted(plain.usage))
    verdict.feedback = plain.take_feedback()
    verdict.extra = {**other, **plain.extra()}
    if plain.refuses():
        raise verdict.attach(verdict.prompt_blocked(), ended=True)
    return [pieces.plain_delta(found) for found in plain.candidates]
