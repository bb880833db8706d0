"""One answer over its hops: what is asked next, what was used so far, and where it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1.error_details_pb2 import ExecutionFailure
from gemini_backend.call import Attempts, Hop
from gemini_backend.policies.long_answers import endings
from gemini_backend.policies.long_answers.budget import budget_of
from gemini_backend.policies.long_answers.continuation_tokens import (
    MAX_TOKEN_BYTES,
    digest_of,
    key_of_answer,
)
from gemini_backend.policies.long_answers.endings import Ending
from gemini_backend.policies.long_answers.spoken import speaks
from gemini_backend.policies.outcome import known_of, sum_of, tier_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from gemini.backend.v1.content_pb2 import Part, Usage
    from gemini_backend.call import Call
    from gemini_backend.errors import ServiceError
    from gemini_backend.policies.long_answers.first_hop import FirstHop

CONTINUATION = content.FINISH_REASON_CONTINUATION
MAX_TOKENS = content.FINISH_REASON_MAX_TOKENS
_ESTIMATED = content.UsageQuality.USAGE_QUALITY_ESTIMATED
# Hops in a row that may bring nothing at all; each of them costs the prompt once more.
MAX_EMPTY_HOPS = 3


class HopEnd(NamedTuple):
    """How one hop came to its end; `seen` is false where more of it may have been to come.

    `served` says by which version, and at which terms.
    """

    reason: int
    token: bytes
    usage: Usage | None
    served: pb.Started | pb.Completed
    seen: bool = True


class HopChain:
    """Follows an answer from hop to hop.

    `request` is what is sent for the hop under way: the caller's own, but for the token and the
    limit of output tokens. `continued` is how many hops there were before it, `used` what they
    used, `version` the model version of the last of them, `warnings` what the caller should know
    in the end.
    """

    __slots__ = (
        "_empty",
        "_hop_said",
        "_most",
        "_now",
        "_own",
        "_seen",
        "_token",
        "_under_way",
        "_unknown",
        "budget",
        "call",
        "continued",
        "ending",
        "request",
        "said",
        "several",
        "used",
        "version",
        "warnings",
    )

    def __init__(
        self,
        call: Call,
        request: Any,
        limits: tuple[int, int],
        most: int,
        now: Callable[[], datetime],
    ) -> None:
        """Stand before the first hop.

        Args:
            call: Whose attempts and hops these are.
            request: What the caller asks; it is left as it is.
            limits: Most output tokens of one request to the model, and of all hops; 0 if not known.
            most: How many continuations are made at most.
            now: Gives the time of day, with its zone: prices change with it.
        """
        self.request = request
        self.continued = 0
        self.used: Usage | None = None
        self.warnings: list[pb.Warning] = []
        self.ending: Ending | None = None
        self.several = request.generation_config.candidate_count > 1
        self.said = bool(request.continuation_token)
        self.budget = None if self.manual else budget_of(request, limits)
        self.call = call
        self._own = False
        self._most = most
        self._now = now
        self._token: bytes = request.continuation_token
        self._seen = {digest_of(self._token)} if self._token else set()
        self._under_way = True
        self._unknown = False  # whether a hop's usage is
        self.version = ""
        self._hop_said = False
        self._empty = 0
        if self.budget is not None and self.budget.cut_down:
            self._copy()
            self.request.generation_config.max_output_tokens = self.budget.sent

    @property
    def manual(self) -> bool:
        """Whether the caller asks for the rest by itself."""
        return bool(self.request.continuation_mode == pb.CONTINUATION_MODE_MANUAL)

    def began(self, first: FirstHop) -> None:
        """Take over what was seen of the first hop."""
        self.said, self._hop_said = first.said, first.anything
        self.several = self.several or first.several
        if self.budget is not None:
            self.budget.characters += first.characters

    def saw(self, parts: Iterable[Part]) -> None:
        """Take note of what a piece of the hop under way says."""
        if self.budget is not None:
            self.budget.saw(parts)
        anything, said = speaks(parts)
        self._hop_said = self._hop_said or anything
        self.said = self.said or said

    def goes_on(self, end: HopEnd) -> bool:
        """Take the end of a hop that may go on; say whether `request` is to be sent for the next.

        Where it is not, `ending` says why.

        Raises:
            ServiceError: the answer can be continued no more, and must not be taken for whole.
        """
        self.ending = self._ending(end)
        self.took(end)
        if self.ending is None and not end.seen:
            raise endings.end_not_seen()
        if self.ending is not None:
            warning = endings.warning_of(self.ending, self._most)
            if warning is not None:
                self.warnings.append(warning)
            return False
        self._check(end)
        self._next(end.token)
        return True

    def took(self, end: HopEnd) -> None:
        """Add the end of a hop to what was used."""
        version = end.served.model_version
        if self.version and version and version != self.version:
            self.warnings.append(endings.model_changed(self.version, version))
        self.version = version or self.version
        self._under_way = False
        self._unknown = self._unknown or end.usage is None
        self.used = sum_of(self.used, end.usage)
        own = sum_of(None, end.usage)  # of its own: the answer's is written into
        tier = tier_of(own or content.Usage(), end.served)
        self.call.outcome.hops.append(Hop(self.version, own, tier, self._now()))
        for attempt in self.call.outcome.attempts:
            attempt.used = None  # what they used is in the hops now

    def put_usage(self, answer: pb.Completed | pb.ProcessResponse) -> None:
        """Write into a whole answer, or the last event of one, what all hops used."""
        answer.continuations = self.continued
        if self.used is not None:
            answer.usage.CopyFrom(self.used)
            if self._unknown:
                answer.usage.quality = _ESTIMATED

    def check_said(self, reason: int, raw: str) -> None:
        """Look whether an answer that is at its end says anything at all.

        Raises:
            EmptyAnswer: no hop of it does.
            AnswerBlocked: no hop of it does, and Gemini says why.
        """
        if self.said or reason in {CONTINUATION, MAX_TOKENS}:
            return
        self._token = b""
        word = raw or content.FinishReason.Name(reason).removeprefix("FINISH_REASON_")  # type: ignore[arg-type] # by number
        error = endings.nothing_said("" if word == "UNSPECIFIED" else word)
        error.failure = ExecutionFailure(finish_reason=reason, finish_reason_raw=raw)  # type: ignore[arg-type] # by number
        raise error

    def failed(self, error: ServiceError, latest: Usage | None = None) -> ServiceError:
        """Write into a failure, once, where the answer can be taken up and what all hops used.

        `latest` is what all hops had used by the last piece; it counts where the failure itself
        does not say what the hop under way has used.
        """
        if not self._token and self.used is None:
            return error
        failure = error.failure = error.failure or ExecutionFailure()
        failure.continuation_token = self._token
        if self.used is not None:
            own = (
                failure.usage if failure.HasField("usage") else known_of(self.call.outcome.attempts)
            )
            total = (latest or self.used) if own is None else sum_of(self.used, own)
            failure.usage.CopyFrom(total or self.used)
            if self._under_way or self._unknown:
                failure.usage.quality = _ESTIMATED
            error.final = True  # the whole again would cost the whole again
        if self.continued:
            error.metadata["continuations"] = str(self.continued)
        return error

    def _ending(self, end: HopEnd) -> Ending | None:
        """Return why there is to be no further hop; None where there is."""
        left = self._left(end)
        checks = (
            (self.manual, Ending.MANUAL),
            (self.several, Ending.SEVERAL),
            (left is not None and left <= 0, Ending.USED_UP),
            (not end.token, Ending.NO_TOKEN),
            (len(end.token) > MAX_TOKEN_BYTES, Ending.TOO_LARGE),
            (self.continued >= self._most, Ending.LIMIT),
            (not self.call.budget.wanted(), Ending.UNWANTED),
        )
        return next((ending for holds, ending in checks if holds), None)

    def _left(self, end: HopEnd) -> int | None:
        """Return how many tokens are left; None for no limit.

        MAX_TOKENS is final, unless it was the model's limit of one request that the hop was given
        in place of the caller's.
        """
        budget = self.budget
        used_up = end.reason == MAX_TOKENS and not (budget is not None and budget.cut_down)
        if budget is not None:
            budget.spend(end.usage)
        if used_up:
            return 0
        return None if budget is None else budget.left

    def _check(self, end: HopEnd) -> None:
        """Look whether the answer comes on.

        Raises:
            StreamCut: it does not.
        """
        self._empty = 0 if self._brought_something(end.usage) else self._empty + 1
        known = digest_of(end.token)
        if known in self._seen:
            self._token = b""
            raise endings.token_repeated()
        self._seen.add(known)
        if self._empty >= MAX_EMPTY_HOPS:
            self._token = end.token
            raise endings.nothing_new(self._empty)

    def _brought_something(self, usage: Usage | None) -> bool:
        thought = usage is not None and usage.thoughts_token_count > 0
        return self._hop_said or thought

    def _next(self, token: bytes) -> None:
        """Make the request for the next hop: the same, with the token."""
        if not self._own:
            self._copy()
        self.request.continuation_token = self._token = token
        if self.budget is not None:
            self.request.generation_config.max_output_tokens = self.budget.sent
        self._hop_said = False
        self._under_way = True
        self.continued += 1
        self.call = self.call.narrowed(bound_to=key_of_answer(self.call), attempts=Attempts())

    def _copy(self) -> None:
        own = type(self.request)()
        own.CopyFrom(self.request)
        self.request, self._own = own, True
