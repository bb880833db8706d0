"""No request is sent that is too long for its model: it is refused, or made to fit as asked.

Stands inside of the fallback, so that each model in line is asked what it takes: where the first
one's context is too small, a later one's may do. What fits by its mere bytes is not counted: no
text has more tokens than bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.errors import ContextTooLong
from gemini_backend.models.names import short_name
from gemini_backend.policies.checks import SKETCHED_BYTES, sketch_of
from gemini_backend.policies.conversations.truncation import without_middles, without_oldest
from gemini_backend.policies.opening import started_of
from gemini_backend.policies.wrapper import Around

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gemini_backend.call import Call
    from gemini_backend.config.sections.tokens import TokensOptions
    from gemini_backend.policies.wrapper import Whole
    from gemini_backend.processing.tokens.counting import TokenCounter, TokenEstimate

    Limits = Callable[[str], tuple[int, int] | None]

_WAYS = {
    pb.TRUNCATION_DROP_OLDEST: without_oldest,
    pb.TRUNCATION_MIDDLE_OUT: without_middles,
}


class Context(Around):
    """Keeps requests within what their models take.

    Refused is only what is certain to be too long. An estimate (media, tools, or no vocabulary to
    count by) is good enough to truncate by; beyond that the model API judges.
    """

    def __init__(
        self, options: Callable[[], TokensOptions], limits: Limits, counter: TokenCounter
    ) -> None:
        """Read the options anew for each call.

        Args:
            options: Whether limits are checked.
            limits: Gives the most tokens that a model takes in and gives out, None if not known.
            counter: Counts what may be too long.
        """
        self._options = options
        self._limits = limits
        self._counter = counter

    def run(self, call: Call, request: Any, proceed: Whole, /) -> Awaitable[Any]:
        """Answer what fits.

        Raises:
            ContextTooLong: it does not, with the numbers.
        """
        limit = self._tight(call, request)
        if limit is None:
            return proceed(call, request)
        return self._run(call, request, limit, proceed)

    async def _run(self, call: Call, request: Any, limit: int, proceed: Whole) -> Any:
        fitting, report = await self._fit(call, request, limit)
        answer = await proceed(call, fitting)
        if report is not None and (started := started_of(answer)) is not None:
            started.truncation.CopyFrom(report)
        return answer

    def _tight(self, call: Call, request: Any) -> int | None:
        """Return what the model takes, where it may be too little; None for nothing to do."""
        if request.truncation not in _WAYS and not self._options().check_limits:
            return None
        limits = self._limits(request.model)
        if limits is None:
            return None
        if limits[0] >= SKETCHED_BYTES and sketch_of(call, request) is not None:
            return None
        # a text longer than that need not be measured as well, which takes longer; a token changes
        # nothing of what was sent before it, so it must not count
        token = len(request.continuation_token)
        size = call.large  # known already where it takes long to find out
        if not size:
            size = limits[0] + 1 if len(request.prompt) > limits[0] else request.ByteSize()
        fits = size - token <= limits[0]
        return None if fits else limits[0]

    async def _fit(
        self, call: Call, request: Any, limit: int
    ) -> tuple[Any, pb.TruncationReport | None]:
        """Return the request as it is to be sent, and what was done to it.

        Raises:
            ContextTooLong: it cannot be sent.
        """
        count = await self._counter.request(request, call)
        way = _WAYS.get(request.truncation)
        if way is None or count.total <= limit:
            if count.at_least > limit:
                raise _too_long(request, count, limit)
            return request, None
        fitting = await way(request, count.total, limit, self._counter)
        after = count if fitting is None else await self._counter.request(fitting, call)
        if fitting is None or after.total > limit:
            if count.at_least > limit:
                raise _too_long(request, count, limit)
            return request, None
        report = pb.TruncationReport(
            truncation=request.truncation,
            dropped_turns=len(request.contents) - len(fitting.contents),
            original_tokens=count.total,
            remaining_tokens=after.total,
        )
        return fitting, report

    def __repr__(self) -> str:
        """Name the policy and its options."""
        return f"Context(check={'on' if self._options().check_limits else 'off'})"


def _too_long(request: Any, count: TokenEstimate, limit: int) -> ContextTooLong:
    about = "" if count.exact else "about "
    tokens = count.total if count.exact else max(count.total, count.at_least)
    what = (
        f"the request has {about}{tokens} tokens, and {short_name(request.model)} accepts at most "
    )
    if request.truncation == pb.TRUNCATION_DROP_OLDEST:
        remedy = "the last turn alone is too long; shorten it"
    elif request.truncation == pb.TRUNCATION_MIDDLE_OUT:
        remedy = "its texts cannot be truncated enough; shorten it"
    else:
        remedy = "shorten it, set truncation, or use a model with a higher limit"
    metadata = {"tokens": str(tokens), "limit": str(limit)}
    return ContextTooLong(f"{what}{limit}; {remedy}", metadata=metadata)
