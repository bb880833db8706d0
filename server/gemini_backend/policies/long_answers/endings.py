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
    Ending.SEVERAL: "there are several candidates, and only an answer of one can be continued; "
    "ask with candidate_count 1",
    Ending.NO_TOKEN: "the model API gave no continuation_token to go on with",
    Ending.TOO_LARGE: "its continuation_token is larger than 1 MiB, so that no request can hold it",
    Ending.UNWANTED: "its caller had left",
}


def warning_of(ending: Ending, most: int) -> pb.Warning | None:
    """Return what a caller should know of an answer that was not followed to its end.

    Args:
        ending: Why it was not.
        most: `execution.max_continuations`.
    """
    if ending is Ending.LIMIT:
        said = (
            f"the answer went on after {most} continuations, the most that are made for one "
            "(execution.max_continuations); ask for the rest with its continuation_token"
        )
        return pb.Warning(code=LIMIT, message=said)
    if ending in _SAID:
        said = f"the answer is not whole: it ended with CONTINUATION, and {_SAID[ending]}"
        return pb.Warning(code=NOT_FOLLOWED, message=said)
    return None


def ignored_token() -> pb.Warning:
    """Return the warning of an answer that is whole and has a token nevertheless."""
    said = "the answer is whole, and yet came with a continuation_token; it was not followed"
    return pb.Warning(code=IGNORED, message=said)


def model_changed(before: str, after: str) -> pb.Warning:
    """Return the warning of an answer that another version of the model went on with."""
    said = f"{before} began the answer, and {after} went on with it"
    return pb.Warning(code=MODEL_CHANGED, message=said)


def token_repeated() -> ServiceError:
    """Return the failure of an answer that would go round in a circle."""
    return _broken(
        "token_repeated",
        "the model API gave a continuation_token a second time, so that the answer would repeat "
        "itself; ask again",
    )


def nothing_new(hops: int) -> ServiceError:
    """Return the failure of an answer of which nothing more comes."""
    return _broken(
        "empty_hops",
        f"{hops} continuations in a row brought nothing; try again later with continuation_token",
    )


def end_not_seen() -> ServiceError:
    """Return the failure of an answer that cannot be taken up behind its last hop."""
    return _broken(
        "end_not_seen",
        "the end of a part of the answer did not come, so that the rest cannot be put behind it; "
        "try again",
    )


def nothing_said(reason: str) -> ServiceError:
    """Return what an answer fails with of which no hop said anything."""
    if reason in {"", "STOP"}:
        return EmptyAnswer("the model ended its answer without saying anything; try again")
    return AnswerBlocked(
        f"the model stopped without an answer, reason {reason}; change the prompt, the tools or "
        "the safety settings"
    )


def _broken(how: str, message: str) -> StreamCut:
    return StreamCut(message, metadata={"continuation": how})
