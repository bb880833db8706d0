"""Why a long answer is not followed any further, and what its caller is told of it."""

from __future__ import annotations

from enum import Enum

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.errors import AnswerBlocked, EmptyAnswer, ServiceError, StreamCut

NOT_FOLLOWED = "CONTINUATION_NOT_FOLLOWED"
LIMIT = "CONTINUATION_LIMIT"
IGNORED = "CONTINUATION_TOKEN_IGNORED"
MODEL_CHANGED = "CONTINUATION_MODEL_CHANGED"


class Ending(Enum):
    """Why no further hop is asked for; the values name them in metrics."""

    MANUAL = "manual"
    USED_UP = "max_output_tokens"
    SEVERAL = "several_candidates"
    NO_TOKEN = "no_token"  # noqa: S105 - a word, not a secret
    TOO_LARGE = "token_too_large"
    LIMIT = "max_continuations"
    UNWANTED = "caller_left"


_SAID = {
    Ending.SEVERAL: "there are several candidates, and only an answer with one can be continued; "
    "set candidate_count to 1",
    Ending.NO_TOKEN: "the model API sent no continuation_token",
    Ending.TOO_LARGE: "its continuation_token is larger than 1 MiB, the maximum in a request",
    Ending.UNWANTED: "its caller had disconnected",
}


def warning_of(ending: Ending, most: int) -> pb.Warning | None:
    """Return what a caller should know of an answer that was not followed to its end.

    Args:
        ending: Why it was not.
        most: `execution.max_continuations`.
    """
    if ending is Ending.LIMIT:
        said = (
            f"the answer continues after {most} continuations, the maximum for one answer "
            "(execution.max_continuations); request the remainder with its continuation_token"
        )
        return pb.Warning(code=LIMIT, message=said)
    if ending in _SAID:
        said = f"the answer is incomplete: it ended with CONTINUATION, and {_SAID[ending]}"
        return pb.Warning(code=NOT_FOLLOWED, message=said)
    return None


def ignored_token() -> pb.Warning:
    """Return the warning of an answer that is whole and has a token nevertheless."""
    said = "the answer is complete, but has a continuation_token; the token was not used"
    return pb.Warning(code=IGNORED, message=said)


def model_changed(before: str, after: str) -> pb.Warning:
    """Return the warning of an answer that another version of the model went on with."""
    said = f"{before} started the answer, and {after} continued it"
    return pb.Warning(code=MODEL_CHANGED, message=said)


def token_repeated() -> ServiceError:
    """Return the failure of an answer that would go round in a circle."""
    return _broken(
        "token_repeated",
        "the model API sent the same continuation_token twice, so the answer would repeat itself; "
        "retry",
    )


def nothing_new(hops: int) -> ServiceError:
    """Return the failure of an answer of which nothing more comes."""
    return _broken(
        "empty_hops",
        f"{hops} consecutive continuations were empty; retry later with continuation_token",
    )


def end_not_seen() -> ServiceError:
    """Return the failure of an answer that cannot be taken up behind its last hop."""
    return _broken(
        "end_not_seen",
        "the end of a part of the answer did not arrive, so the next part cannot be appended; "
        "retry",
    )


def nothing_said(reason: str) -> ServiceError:
    """Return what an answer fails with of which no hop said anything."""
    if reason in {"", "STOP"}:
        return EmptyAnswer("the model ended its answer without any content; retry")
    return AnswerBlocked(
        f"the model stopped without an answer, reason {reason}; change the prompt, the tools or "
        "the safety settings"
    )


def _broken(how: str, message: str) -> StreamCut:
    return StreamCut(message, metadata={"continuation": how})
