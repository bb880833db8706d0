"""What an answer is priced by where its usage leaves something out: rather something than nothing.

| left out | instead |
|---|---|
| a count, but not its kinds of medium | their sum |
| one of prompt, answer, thoughts, but not the total | what the total has beyond the others; of \
the first that is left out |
| the prompt's count, and the total | an estimate of what the request has in it; of a session its \
new turn alone |
| the counts of answer and thoughts, and the total | a token for three bytes of what was said, \
and what is usual for a picture or a length of sound |
| kinds of medium of an answer that has pictures, sound or video | what no kind is given for is \
that medium |
| kinds of medium of a prompt that has media | as many tokens of each as are usual |

Kinds count where the model has rates of their own for them. None of it is put into `usage`, which
has Gemini's counts and nothing else; its quality is ESTIMATED where the cost was made so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gemini.backend.v1 import content_pb2 as pb
from gemini_backend.models.prices import medium_of
from gemini_backend.processing.tokens.countable_parts import CountableParts, ledger_of
from gemini_backend.processing.tokens.media import modality_of
from gemini_backend.processing.tokens.model_generation import NEWEST, generation_of
from gemini_backend.processing.tokens.rules_of_thumb import ample_tokens, ample_tokens_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from collections.abc import Set as AbstractSet

    from gemini.backend.v1 import execute_service_pb2 as pb2
    from gemini_backend.models.catalogue_schema import CatalogueEntry, Price

_MOST = 2**31 - 1
_PARTS = (
    "prompt_token_count",
    "candidates_token_count",
    "thoughts_token_count",
    "tool_use_prompt_token_count",
)
_BY_KIND = (
    ("prompt_token_count", "prompt_tokens_details"),
    ("candidates_token_count", "candidates_tokens_details"),
    ("tool_use_prompt_token_count", "tool_use_prompt_tokens_details"),
    ("cached_content_token_count", "cache_tokens_details"),
)
_NONE: AbstractSet[Any] = frozenset()
_BY_GEMINI = {"code_execution_result", "tool_response"}


class AnswerFacts:
    """What the pieces of one answer tell that its price may depend on."""

    __slots__ = ("_bytes", "_ledger", "_watch", "counted", "kinds", "queries")

    def __init__(self) -> None:
        """Begin with nothing."""
        self._watch = False
        self.counted = False
        self._bytes = 0
        self._ledger: CountableParts | None = None
        self.kinds: AbstractSet[int] = _NONE
        self.queries: AbstractSet[str] = _NONE

    def begun(self, entry: CatalogueEntry | None) -> None:
        """Look for media, where the model that serves makes any at a rate of their own."""
        self._watch = entry is not None and any(price.output_by_medium for price in entry.prices)

    def take(self, delta: pb2.Delta) -> None:
        """Look at a delta; it may tell again of searches that were told before."""
        if delta.HasField("grounding_metadata"):
            self.queries |= {*delta.grounding_metadata.web_search_queries}
        if self.counted and not self._watch:
            return
        if not self.counted and delta.HasField("usage"):
            usage = delta.usage
            self.counted = usage.candidates_token_count > 0 or usage.thoughts_token_count > 0
        parts = delta.parts
        if len(parts) == 1 and (text := parts[0].text):  # as nearly all are
            if not self.counted:
                self._bytes += _bytes_of(text)
            return
        self._look(parts)

    def take_whole(self, response: pb2.ProcessResponse) -> None:
        """Look at a whole answer."""
        usage = response.usage
        self.counted = usage.candidates_token_count > 0 or usage.thoughts_token_count > 0
        for one in response.candidates:
            if one.HasField("grounding_metadata"):
                self.queries |= {*one.grounding_metadata.web_search_queries}
            if not self.counted or self._watch:
                self._look(one.content.parts)

    def output(self) -> tuple[int, Mapping[int, int]]:
        """Return about how many tokens were said in all, and of each medium but text."""
        total, added = ample_tokens(self._bytes), dict[int, int]()
        if self._ledger is not None:
            total += sum(map(ample_tokens_of, (*self._ledger.texts, *self._ledger.others)))
            added = self._ledger.added
        total += sum(added.values())
        return min(_MOST, total), {k: v for k, v in added.items() if k != pb.MODALITY_TEXT}

    def _look(self, parts: Iterable[pb.Part]) -> None:
        for part in parts:
            kind = part.WhichOneof("data")
            if kind == "inline_data":
                self.kinds |= {modality_of(part.inline_data.mime_type)}
            if self.counted or kind in _BY_GEMINI:
                continue
            if kind == "text":
                self._bytes += _bytes_of(part.text)
            elif kind is not None:
                self._ledger = self._ledger or CountableParts(NEWEST)
                self._ledger.part(part)


def _bytes_of(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode(errors="replace"))


def filled(
    usage: pb.Usage, request: Any, told: AnswerFacts, entry: CatalogueEntry, price: Price
) -> pb.Usage | None:
    """Return a usage with what it leaves out, by which it is priced; None where nothing is."""
    made = _derived(usage)
    known = made or usage
    # a total that has nothing beyond the prompt says that there was no answer
    out = max(known.candidates_token_count, known.thoughts_token_count, known.total_token_count) > 0
    by_kind = known.prompt_tokens_details or not price.input_by_medium or is_all_text(request)
    makes = told.kinds and price.output_by_medium
    if known.prompt_token_count > 0 and out and by_kind and not makes:
        return made
    changed = made is not None
    made = made or _copy(usage)
    if known.prompt_token_count <= 0 or not by_kind:
        changed |= _put_prompt(made, request, entry, price)
    if not out:
        total, kinds = told.output()
        if total:
            changed = True
            made.candidates_token_count = total
            _put_kinds(made.candidates_tokens_details, kinds, total)
    elif makes:
        changed |= _put_made(made, told.kinds, price)
    return made if changed else None


def leaves_nothing_out(usage: pb.Usage, request: Any) -> bool:
    """Say whether a usage has all that a price may depend on, by whatever model, without media."""
    return _is_whole(usage) and bool(usage.prompt_tokens_details or is_all_text(request))


def is_all_text(request: Any) -> bool:
    """Say whether a request is nothing but a prompt, which can hold no medium."""
    return not (
        request.contents or request.cached_content or request.HasField("system_instruction")
    )


def _is_whole(usage: pb.Usage) -> bool:
    """Say whether no count follows from others."""
    prompt, out = usage.prompt_token_count, usage.candidates_token_count
    if prompt <= 0 or out <= 0:
        return False
    if usage.thoughts_token_count <= 0:
        beyond = usage.total_token_count - prompt - out
        if beyond > 0 and beyond > usage.tool_use_prompt_token_count:
            return False
    return bool(usage.cached_content_token_count or not usage.cache_tokens_details)


def _derived(usage: pb.Usage) -> pb.Usage | None:
    """Return a usage with the counts that follow from others; None where none do."""
    if _is_whole(usage):
        return None
    made, changed = _copy(usage), False
    for name, kinds in _BY_KIND:
        tokens = sum(max(0, one.token_count) for one in getattr(usage, kinds))
        if getattr(usage, name) <= 0 and tokens:
            setattr(made, name, min(_MOST, tokens))
            changed = True
    rest = usage.total_token_count - sum(max(0, getattr(made, name)) for name in _PARTS)
    missing = next((name for name in _PARTS[:3] if getattr(made, name) <= 0), None)
    if rest > 0 and missing is not None:
        setattr(made, missing, rest)
        changed = True
    return made if changed else None


def _copy(usage: pb.Usage) -> pb.Usage:
    made = pb.Usage()
    made.CopyFrom(usage)
    return made


def _put_prompt(made: pb.Usage, request: Any, entry: CatalogueEntry, price: Price) -> bool:
    ledger = ledger_of(request, generation_of(entry.name))
    kinds = {kind: tokens for kind, tokens in ledger.added.items() if kind != pb.MODALITY_TEXT}
    if made.prompt_token_count > 0:
        if made.prompt_tokens_details or not any(_has_rate(kind, price) for kind in kinds):
            return False
    else:
        texts = sum(map(ample_tokens_of, (*ledger.texts, *ledger.others)))
        total = ledger.certain + texts + sum(ledger.added.values())
        made.prompt_token_count = min(_MOST, total)
        del made.prompt_tokens_details[:]
    _put_kinds(made.prompt_tokens_details, kinds, made.prompt_token_count)
    return True


def _put_made(made: pb.Usage, kinds: Iterable[int], price: Price) -> bool:
    """Give what is left over of an answer to its dearest medium that no detail names."""
    details = made.candidates_tokens_details
    named = {medium_of(one) for one in details}
    rest = made.candidates_token_count - sum(max(0, one.token_count) for one in details)
    missing = [
        pb.ModalityTokenCount(modality=kind)  # type: ignore[arg-type] # by number
        for kind in kinds
        if _has_rate(kind, price, made=True)
    ]
    missing = [one for one in missing if medium_of(one) not in named]
    if rest <= 0 or not missing:
        return False
    dearest = max(missing, key=lambda one: price.output_by_medium[medium_of(one)])
    dearest.token_count = rest
    details.append(dearest)
    return True


def _has_rate(kind: int, price: Price, *, made: bool = False) -> bool:
    medium = medium_of(pb.ModalityTokenCount(modality=kind))  # type: ignore[arg-type] # by number
    return medium in (price.output_by_medium if made else price.input_by_medium)


def _put_kinds(details: Any, kinds: Mapping[int, int], total: int) -> None:
    left = total
    for kind, tokens in kinds.items():
        details.add(modality=kind, token_count=min(tokens, left))
        left -= min(tokens, left)
