"""An answer that Gemini breaks off with CONTINUATION goes on in further requests, by itself.

Stands inside of all that sees one execution, and outside of all that makes one attempt: each hop is
tried, timed, limited and sent with a key like a request of its own.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from gemini_backend.errors import ServiceError
from gemini_backend.policies.long_answers.continuation_tokens import TokenKeys, key_of_answer
from gemini_backend.policies.long_answers.endings import Ending
from gemini_backend.policies.long_answers.first_hop import is_limited
from gemini_backend.policies.long_answers.hop_answers import HopAnswers
from gemini_backend.policies.long_answers.hop_chain import CONTINUATION, HopChain
from gemini_backend.policies.long_answers.hop_stream import HopStream
from gemini_backend.policies.relay import watched
from gemini_backend.policies.wrapper import Wrapper

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from gemini_backend.call import Call
    from gemini_backend.config.sections.execution import ExecutionOptions
    from gemini_backend.policies.event_stream import EventStream
    from gemini_backend.policies.long_answers.hop_events import HopEvents
    from gemini_backend.policies.wrapper import Opens, Whole

    # the most output tokens of one request to a model, and of all hops; 0 where not known
    Limits = Callable[[str], tuple[int, int]]


_FAILED = "failed"
ENDINGS = (*(ending.value for ending in Ending), _FAILED)
"""Why answers were not followed to their end, as they are counted."""


class Continuation(Wrapper):
    """Runs the rest once for each hop: the same request, with the token of the hop before.

    With ContinuationMode AUTO the caller gets one answer. It ends where Gemini ends it, where
    `max_output_tokens` is used up, or where it cannot be followed: with several candidates, without
    a token, after `execution.max_continuations`, or when the caller has left; `completed` then says
    CONTINUATION, with a warning. With MANUAL each hop is an answer.

    A hop that fails ends the execution. Its failure carries the token behind the last hop that was
    handed on whole. A token goes out with a key of the project that gave it.
    """

    def __init__(
        self,
        options: Callable[[], ExecutionOptions],
        limits: Limits,
        now: Callable[[], datetime],
    ) -> None:
        """Read the options anew for each call.

        Args:
            options: How many further requests are made for one answer.
            limits: Gives what models may say.
            now: Gives the time of day, with its zone: each hop is priced at its own.
        """
        self._options = options
        self._limits = limits
        self._now = now
        self._keys = TokenKeys()
        self.followed = 0
        self.endings: Counter[str] = Counter()

    async def unary(self, call: Call, request: Any, proceed: Whole, /) -> Any:
        """Answer with all hops.

        Raises:
            StreamCut: the answer could not be continued to its end.
            ServiceError: a hop failed; with the token to go on with.
        """
        if request.continuation_token:
            call = self._bound(call, request)
        chain = self._beginning(call, request) if is_limited(request) else None
        hops: HopAnswers | None = None
        try:
            while True:
                if chain is None:
                    response = await proceed(call, request)
                else:
                    response = await proceed(chain.call, chain.request)
                if hops is None:
                    if not _may_go_on(response):
                        return response
                    chain = chain or self.chain(call, request)
                    hops = HopAnswers(chain)
                if not hops.goes_on(response):
                    break
                self.followed += 1
        except ServiceError as error:
            self.failed(call, request, chain, error)
            raise
        whole = hops.whole()
        self.ended(call, hops.ending, whole.candidates[0].continuation_token)
        return whole

    async def stream(self, call: Call, request: Any, proceed: Opens, /) -> EventStream:
        """Open a stream of the events of all hops, as those of one answer.

        It fails by StreamCut where the answer could not be continued to its end, and by a hop's
        own failure; with the token to go on with, where there is one.

        Raises:
            ServiceError: the first hop failed.
        """
        if request.continuation_token:
            call = self._bound(call, request)
        chain = self._beginning(call, request) if is_limited(request) else None
        hops = HopStream(self, call, request, chain, proceed)
        try:
            events = await proceed(call, request if chain is None else chain.request)
        except ServiceError as error:
            hops.end(error)
            raise
        waiting = watched(events, [hops])
        if waiting is not None:
            await waiting
        return events

    def _bound(self, call: Call, request: Any) -> Call:
        """Return the call of a caller's token, bound to the key that the token came with."""
        return call.narrowed(bound_to=self._keys.key_of(request.continuation_token))

    def _beginning(self, call: Call, request: Any) -> HopChain | None:
        """Return a chain where the first hop is not to be asked for as it came, else None."""
        chain = self.chain(call, request)
        return None if chain.request is request else chain

    def chain(self, call: Call, request: Any) -> HopChain:
        """Return the chain of an answer that stands before its first hop."""
        most = self._options().max_continuations
        return HopChain(call, request, self._limits(request.model), most, self._now)

    def ended(self, call: Call, ending: Ending | None, token: bytes) -> None:
        """Count how an answer ended that was not followed; remember the token of a caller."""
        if ending is not None:
            self.endings[ending.value] += 1
        self._keys.learn(token, key_of_answer(call))

    def failed(
        self,
        call: Call,
        request: Any,
        chain: HopChain | None,
        error: ServiceError,
        hops: HopEvents | None = None,
    ) -> None:
        """Write into a failure where the answer can be taken up, and remember for whom."""
        if chain is None and not request.continuation_token:
            return
        chain = chain or self.chain(call, request)
        if hops is None:
            chain.failed(error)
        else:
            hops.failed(error)
        if error.failure is not None and error.failure.continuation_token:
            self.endings[_FAILED] += 1
            self._keys.learn(error.failure.continuation_token, chain.call.bound_to)

    def __repr__(self) -> str:
        """Name the policy and its options."""
        return f"Continuation(max={self._options().max_continuations})"


def _may_go_on(response: Any) -> bool:
    """Say whether a whole answer may be a hop of a longer one."""
    for one in response.candidates:
        if one.continuation_token or one.finish_reason == CONTINUATION:
            return True
    return False
