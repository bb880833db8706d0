"""The whole answers of several hops as one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini.backend.v1 import content_pb2 as content
from gemini_backend.policies.long_answers import endings
from gemini_backend.policies.long_answers.endings import Ending
from gemini_backend.policies.long_answers.hop_chain import CONTINUATION, MAX_TOKENS, HopEnd
from gemini_backend.processing.answers import text_parts
from gemini_backend.processing.answers.extras import drop_repeated, merge_extra

if TYPE_CHECKING:
    from gemini.backend.v1 import execute_service_pb2 as pb
    from gemini_backend.policies.long_answers.hop_chain import HopChain

_LATEST = ("finish_reason", "finish_reason_raw", "continuation_token")


class HopAnswers:
    """Puts the answers of the hops together: texts go on, lists grow, of the rest the last counts.

    What a place in the text or among the sources is told by, such as the bytes of a quotation,
    stands as Gemini gave it with its hop; only the numbers of sources are moved on.
    """

    __slots__ = ("_chain", "_whole")

    def __init__(self, chain: HopChain) -> None:
        """Begin with nothing."""
        self._chain = chain
        self._whole: pb.ProcessResponse | None = None

    @property
    def ending(self) -> Ending | None:
        """Why the answer was not followed any further; None where Gemini ended it."""
        return self._chain.ending

    def goes_on(self, response: pb.ProcessResponse) -> bool:
        """Take the answer of a hop; say whether there is another hop to be asked for.

        Raises:
            ServiceError: the answer can be continued no more, or no hop said anything.
        """
        chain, candidates = self._chain, response.candidates
        for candidate in candidates:
            chain.saw(candidate.content.parts)
        chain.several = chain.several or len(candidates) > 1
        ended = candidates[0] if candidates else content.Candidate()
        end = HopEnd(
            reason=ended.finish_reason,
            token=ended.continuation_token,
            usage=response.usage if response.HasField("usage") else None,
            served=response.started,
        )
        reason, raw = end.reason, ended.finish_reason_raw
        # a token without any reason says no less that there is more
        may = reason == CONTINUATION or (end.token and not raw and reason in {0, MAX_TOKENS})
        follows = bool(may and chain.goes_on(end))
        self._join(response)
        if may:
            return follows
        if end.token:
            chain.warnings.append(endings.ignored_token())
        if chain.continued:
            chain.took(end)
            chain.check_said(reason, raw)
        return False

    def whole(self) -> pb.ProcessResponse:
        """Return the answer of all hops, at its end."""
        whole, chain = self._whole, self._chain
        assert whole is not None  # noqa: S101 - at least one hop has come
        if chain.ending is Ending.USED_UP:
            whole.candidates[0].finish_reason = MAX_TOKENS
            whole.candidates[0].ClearField("finish_message")
        elif chain.ending is Ending.TOO_LARGE:
            whole.candidates[0].ClearField("continuation_token")
        if chain.continued:
            chain.put_usage(whole)
        whole.started.warnings.extend(chain.warnings)
        return whole

    def _join(self, response: pb.ProcessResponse) -> None:
        whole = self._whole
        if whole is None:
            self._whole = response
            return
        for candidate in response.candidates[:1]:
            if whole.candidates:
                _go_on_with(whole.candidates[0], candidate)
            else:
                whole.candidates.add().CopyFrom(candidate)
        whole.started.warnings.extend(response.started.warnings)
        whole.started.served_service_tier = response.started.served_service_tier
        whole.started.served_service_tier_raw = response.started.served_service_tier_raw
        if response.started.HasField("model_status"):
            whole.started.model_status.CopyFrom(response.started.model_status)
        if response.HasField("prompt_feedback"):
            whole.prompt_feedback.CopyFrom(response.prompt_feedback)
        merge_extra(whole, response)


def _go_on_with(candidate: content.Candidate, more: content.Candidate) -> None:
    text_parts.append(candidate.content.parts, more.content.parts)
    if more.content.HasField("role"):
        candidate.content.role = more.content.role
    merge_extra(candidate.content, more.content)
    drop_repeated(candidate.content)
    _merge_scores(candidate, more)
    for name in _LATEST:
        setattr(candidate, name, getattr(more, name))
    candidate.ClearField("finish_message")
    if more.HasField("finish_message"):
        candidate.finish_message = more.finish_message
    if more.safety_ratings:
        del candidate.safety_ratings[:]
        candidate.safety_ratings.extend(more.safety_ratings)
    if more.HasField("citation_metadata"):
        candidate.citation_metadata.MergeFrom(more.citation_metadata)
    if more.HasField("grounding_metadata"):
        _merge_sources(candidate.grounding_metadata, more.grounding_metadata)
    if more.HasField("url_context_metadata"):
        candidate.url_context_metadata.MergeFrom(more.url_context_metadata)
    merge_extra(candidate, more)


def _merge_sources(sources: content.GroundingMetadata, more: content.GroundingMetadata) -> None:
    """Put sources behind those that there are; what names them by number names them still."""
    before = len(sources.grounding_chunks)
    place = len(sources.grounding_supports)
    sources.MergeFrom(more)
    for support in sources.grounding_supports[place:]:
        moved = [index + before for index in support.grounding_chunk_indices]
        support.grounding_chunk_indices[:] = moved


def _merge_scores(candidate: content.Candidate, more: content.Candidate) -> None:
    """Add up tokens and their probabilities; a mean of both is known where both counted tokens."""
    counts = (candidate.token_count, more.token_count)
    means = (candidate.avg_logprobs, more.avg_logprobs)
    if candidate.HasField("avg_logprobs") and more.HasField("avg_logprobs") and all(counts):
        total = counts[0] * means[0] + counts[1] * means[1]
        candidate.avg_logprobs = total / sum(counts)
    elif more.HasField("avg_logprobs"):
        candidate.avg_logprobs = more.avg_logprobs
    if more.HasField("token_count"):
        candidate.token_count = sum(counts)
    if more.HasField("logprobs_result"):
        candidate.logprobs_result.MergeFrom(more.logprobs_result)
