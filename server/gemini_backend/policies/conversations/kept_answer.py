"""Which answers the conversation goes on with, and which of their parts the model takes back."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.policies.conversations.call_fragments import with_whole_calls
from gemini_backend.processing.answers.extras import drop_all_repeated, has_extra

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gemini.backend.v1.session_service_pb2 import SessionTurn

# The answer was not stopped for what it says, and it is no failed attempt at one: what the caller
# was given, the model is given again. All other reasons that the contract has are the opposite.
GOES_ON = frozenset(
    {
        content.FINISH_REASON_UNSPECIFIED,  # or one that this version has no name for
        content.FINISH_REASON_STOP,
        content.FINISH_REASON_MAX_TOKENS,
        content.FINISH_REASON_OTHER,
        content.FINISH_REASON_LANGUAGE,
        content.FINISH_REASON_TOO_MANY_TOOL_CALLS,
        content.FINISH_REASON_IMAGE_OTHER,
        content.FINISH_REASON_NO_IMAGE,
        content.FINISH_REASON_ESCALATION,
    }
)
_NOT_KEPT = "SESSION_TURN_NOT_KEPT"
_HALF = pb.Warning(
    code=_NOT_KEPT,
    message="the answer is incomplete, so it was not added to the session; send the turn again",
)
_HALF_CALL = pb.Warning(
    code="SESSION_CALL_NOT_KEPT",
    message="a function call of the answer is incomplete or has no name, so the conversation "
    "continues without the call; do not answer it",
)


class KeptAnswer(NamedTuple):
    """What the conversation goes on with, None for nothing; and what the caller has to know."""

    output: content.Content | None
    warning: pb.Warning | None


def is_half(candidates: Iterable[content.Candidate]) -> pb.Warning | None:
    """Return a warning where the answer goes on in another request: half of one is no turn."""
    first = next(iter(candidates), None)
    going_on = first is not None and first.finish_reason == content.FINISH_REASON_CONTINUATION
    return _HALF if going_on else None


def kept_answer(candidate: content.Candidate) -> KeptAnswer:
    """Return what of an answer the conversation goes on with.

    That is its content as it was received, but for calls that came in pieces, which become whole
    calls.
    """
    if candidate.finish_reason not in GOES_ON:
        reason = content.FinishReason.Name(candidate.finish_reason)
        return KeptAnswer(None, _left_out(f"ended with {reason.removeprefix('FINISH_REASON_')}"))
    output = content.Content()
    output.CopyFrom(candidate.content)
    if any(_is_piece(part.function_call) for part in output.parts):
        whole = with_whole_calls([part for part in output.parts if not _is_blank(part)])
        del output.parts[:]
        output.parts.extend(whole)
    if not output.role:
        output.role = "model"
    drop_all_repeated(output)
    if sendable(output) is None:
        return KeptAnswer(None, _left_out("has no content that can be sent to the model again"))
    lost = any(part.HasField("function_call") and not _is_said(part) for part in output.parts)
    return KeptAnswer(output, _HALF_CALL if lost else None)


def sendable(said: content.Content) -> content.Content | None:
    """Return a content as the model takes it back; None where nothing but thoughts is left.

    Left out is what the model API refuses: empty parts, except those with a signature, and calls
    that are incomplete or have no name.
    """
    if not any(_is_said(part) and not part.thought for part in said.parts):
        return None
    if all(map(_is_said, said.parts)):
        return said
    rest = content.Content()
    rest.CopyFrom(said)
    del rest.parts[:]
    rest.parts.extend(part for part in said.parts if _is_said(part))
    return rest


def sent_again(turn: SessionTurn) -> list[content.Content]:
    """Return what is sent of a turn.

    What was asked without an answer is left out, so that what was blocked once does not block all
    that follows; but results of function calls stay with their calls, and what the session was
    created with stays as it is.
    """
    output = sendable(turn.output) if turn.HasField("output") else None
    if output is not None:
        return [*turn.inputs, output]
    return list(turn.inputs) if not turn.execution or answers_a_call(turn.inputs) else []


def answers_a_call(inputs: Iterable[content.Content]) -> bool:
    """Say whether this brings the results of function calls, which belong to the turn before."""
    return any(part.HasField("function_response") for said in inputs for part in said.parts)


def _left_out(why: str) -> pb.Warning:
    return pb.Warning(
        code=_NOT_KEPT,
        message=f"the answer {why}: the turn is stored without output, and the conversation "
        "continues without it; change the turn and send it again",
    )


def _is_said(part: content.Part) -> bool:
    if part.HasField("function_call"):
        return bool(part.function_call.name) and not _is_piece(part.function_call)
    return not _is_blank(part)


def _is_blank(part: content.Part) -> bool:
    kind = part.WhichOneof("data")
    says = bool(part.text) if kind == "text" else kind is not None
    return not (says or part.thought_signature or has_extra(part))


def _is_piece(call: content.FunctionCall) -> bool:
    return call.will_continue or bool(call.partial_args)
