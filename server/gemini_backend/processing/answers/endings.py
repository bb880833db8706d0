"""How a streamed answer came to its end, as layers that keep answers have to know it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from gemini.backend.v1 import execute_service_pb2 as pb


class _Warning(NamedTuple):
    code: str
    message: str


END_NOT_SEEN = _Warning(
    "END_NOT_SEEN",
    "the model had finished, but the end of its answer's body did not arrive: data after this "
    "point would be missing, and usage is an estimate",
)
"""An answer with this warning is handed on, and never kept: not in a cache, not as a turn."""


NOT_A_FINISH = "FINISH_REASON_UNSPECIFIED"
"""What some servers write as the reason of every piece: the candidate goes on."""


def is_finish(delta: pb.Delta) -> bool:
    """Say whether a piece has a finish reason; more pieces may follow it nevertheless."""
    return bool(delta.finish_reason) or delta.finish_reason_raw not in {"", NOT_A_FINISH}


def end_was_seen(completed: pb.Completed) -> bool:
    """Say whether it is certain that the answer is whole."""
    return all(warning.code != END_NOT_SEEN.code for warning in completed.warnings)
