"""Who counts a request's tokens: the model API, or this server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.errors import (
    ConnectTimeout,
    DailyQuotaExhausted,
    DeadlinePassed,
    Throttled,
    Unreachable,
    UpstreamTimedOut,
    UpstreamUnavailable,
)
from gemini_backend.policies.conversations.conversation import read_conversation

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gemini_backend.call import Call
    from gemini_backend.clock import Clock
    from gemini_backend.config.sections.tokens import TokensOptions
    from gemini_backend.processing.tokens.counting import TokenCounter
    from gemini_backend.stores.session_service import SessionContext

    Ask = Callable[[Call, pb.CountTokensRequest], Awaitable[pb.CountTokensResponse]]

_CONFIGURED = {
    "upstream": pb.TOKEN_COUNTING_UPSTREAM,
    "prefer_upstream": pb.TOKEN_COUNTING_PREFER_UPSTREAM,
    "offline": pb.TOKEN_COUNTING_OFFLINE,
}
# The model API cannot be asked now. What it says of the request or of our key is told instead.
_AWAY = (
    ConnectTimeout,
    DailyQuotaExhausted,
    Throttled,
    Unreachable,
    UpstreamTimedOut,
    UpstreamUnavailable,
)


class TokenCount:
    """Answers CountTokens; `method` of the answer says where the number comes from."""

    def __init__(
        self,
        options: Callable[[], TokensOptions],
        ask: Ask,
        counter: TokenCounter,
        context: SessionContext,
        clock: Clock,
    ) -> None:
        """Read the options anew for each call.

        Args:
            options: Who counts where the request does not say.
            ask: Asks the model API.
            counter: Counts here.
            context: Where sessions are kept.
            clock: Times both.
        """
        self._context = context
        self._options = options
        self._ask = ask
        self._counter = counter
        self._clock = clock

    async def whole(self, call: Call, request: pb.CountTokensRequest) -> pb.CountTokensRequest:
        """Return the request with everything that was said in its session, if it names one.

        The conversation is counted as it stands; what may be left out of it, so that a model takes
        it, is left out of executions only.

        Raises:
            UnknownResource: there is no such session, or it is somebody else's.
            StoreUnavailable: the store cannot be used.
        """
        if not request.session:
            return request
        conversation = await read_conversation(self._context, call, request.session)
        return conversation.whole_count(request)

    async def answer(self, call: Call, request: pb.CountTokensRequest) -> pb.CountTokensResponse:
        """Return how many tokens a request has, whose model is set.

        Raises:
            DeadlinePassed: there was no time for it.
            ServiceError: the model API failed, and is not to be stood in for.
        """
        who = request.counting or _CONFIGURED[self._options().counting]
        if who == pb.TOKEN_COUNTING_OFFLINE:
            return await self._here(call, request)
        request = _for_upstream(request)
        if who == pb.TOKEN_COUNTING_UPSTREAM:
            return await self._upstream(call, request)
        try:
            async with self._clock.timeout(self._options().upstream_timeout_seconds):
                return await self._upstream(call, request)
        except (TimeoutError, *_AWAY):
            return await self._here(call, request)

    async def _upstream(self, call: Call, request: pb.CountTokensRequest) -> pb.CountTokensResponse:
        try:
            async with self._clock.timeout(call.remaining(self._clock.now())):
                return await self._ask(call, request)
        except TimeoutError:
            raise _late() from None

    async def _here(self, call: Call, request: pb.CountTokensRequest) -> pb.CountTokensResponse:
        try:
            async with self._clock.timeout(call.remaining(self._clock.now())):
                return (await self._counter.request(request, call)).response(request.model)
        except TimeoutError:
            raise _late() from None


def _for_upstream(request: pb.CountTokensRequest) -> pb.CountTokensRequest:
    """Return the request without what only this server reads; a copy where that is set."""
    if not request.counting:
        return request
    changed = pb.CountTokensRequest()
    changed.CopyFrom(request)
    changed.ClearField("counting")
    return changed


def _late() -> DeadlinePassed:
    return DeadlinePassed("counting took longer than the call's deadline; set a later deadline")
