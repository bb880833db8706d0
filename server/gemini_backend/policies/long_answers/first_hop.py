"""The first hop of an answer, for nearly all of them the only one: it is hardly looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gemini.backend.v1 import content_pb2 as content
from gemini_backend.policies.long_answers.spoken import speaks

if TYPE_CHECKING:
    from gemini.backend.v1 import execute_service_pb2 as pb

_CONTINUATION = content.FINISH_REASON_CONTINUATION


def is_limited(request: Any) -> bool:
    """Say whether a request limits the tokens of its answer."""
    if not request.HasField("generation_config"):
        return False
    limited: bool = request.generation_config.HasField("max_output_tokens")
    return limited


class FirstHop:
    """What has to be known of a first hop, should it turn out not to be the only one.

    `looks` says whether it wants to see pieces without a finish reason: until the answer has said
    something, and throughout where tokens are limited, for the sake of those without counts.
    """

    __slots__ = ("_limited", "anything", "characters", "looks", "said", "several", "started")

    def __init__(self, request: Any) -> None:
        """Begin; who comes with a token has been told something before."""
        self.started: pb.Started | None = None
        self.said = self.anything = bool(request.continuation_token)
        self.several = False
        self.characters = 0  # of pieces that tokens were not counted with
        self._limited = is_limited(request)
        self.looks = True

    def ends_with(self, delta: pb.Delta) -> bool:
        """Look at a delta; say whether it may be the end of a hop that is not the last one."""
        reason = delta.finish_reason
        if reason:
            self.several = self.several or delta.candidate_index > 0
            if reason == _CONTINUATION or delta.continuation_token:
                return True
        if not self.said:
            anything, self.said = speaks(delta.parts)
            self.anything = self.anything or anything
        if self._limited and not delta.HasField("usage"):
            self.characters += sum(len(part.text) for part in delta.parts)
        self.looks = self._limited or not self.said
        return False
