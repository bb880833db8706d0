"""What an answer has used in all, out of the usage that came with its pieces.

Gemini reports usage with every event, cumulative. The rules, each held by a test:

- A later count wins, and what a later report leaves out, or gives as 0, stays as it was: a last
  event with only a `trafficType`, `{}` or zeros wipes nothing.
- While it runs tools of its own, such as code, Gemini 3 counts each round of its output anew: it
  reports the prompt alone, then lower counts of answer and thoughts. The rounds are added. Its
  last report may be of all rounds again: it is taken for that where it comes to no less than the
  rounds together and its prompt has risen, as it does then, or where it comes to their exact sum
  and thoughts or tools' tokens show it.
- Counts have started again where all that were there fall, and a tool has run, or the prompt alone
  was reported in between, or less than half is left. Where one count merely goes down the later
  one wins, and that is doubtful.

Nothing is derived here: a count that no report gives is not known. Doubtful is whatever the reports
do not say plainly: counts that were added, that fell, or do not add up to the total; a count that
could not be read where it was reported last, whatever an earlier report said of it; something said
after the last count, or without any; more cached tokens than the prompt has; more tokens by kinds
of medium than in all; and whatever a failure cut off. Doubtful usage is ESTIMATED, all other EXACT.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini.backend.v1.content_pb2 import Usage, UsageQuality
from gemini_backend.upstream.gemini.answer.usage import (
    COUNTS,
    DETAILS,
    MOST,
    Fields,
    extra_of,
    of_wire,
    put,
    supersedes,
    unread,
)
from gemini_backend.upstream.gemini.translation import free_json, proto_fields

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gemini_backend.upstream.gemini.translation import wire

    Counts = tuple[int, int, int, int, int, int]
    Kinds = tuple[int, int, int, int]

_PROMPT, _ANSWER, _THOUGHTS, _TOOLS, _CACHED, _TOTAL = COUNTS
_PARTS = (_PROMPT, _ANSWER, _THOUGHTS, _TOOLS)
_KINDS = DETAILS[1]  # of the answer
_RUN_BY_GEMINI = {"executable_code", "code_execution_result", "tool_call", "tool_response"}
_WORDS = (("service_tier", "service_tier_raw"), ("traffic_type", "traffic_type_raw"))
_NOTHING = (0, 0)
_EXACT, _ESTIMATED = UsageQuality.USAGE_QUALITY_EXACT, UsageQuality.USAGE_QUALITY_ESTIMATED


class UsageTally:
    """Takes the usage of one answer as it is reported, and says what it came to.

    Attributes:
        in_rounds: Whether counts may have started again: no report may be left out then.
        missed: Whether something was said after the last count. To be set when an event says
            something, before the event's own usage is taken.
    """

    __slots__ = (
        "_behind",
        "_closed",
        "_closed_kinds",
        "_doubt",
        "_first",
        "_now",
        "_only_prompt",
        "_perhaps_all",
        "_tool",
        "_typed",
        "_unread",
        "in_rounds",
        "missed",
    )

    def __init__(self) -> None:
        """Begin with nothing."""
        self._first: wire.Usage | None = None  # the first report, as long as all are like it
        self._now: Fields | None = None  # the round that is being counted
        self._closed = _NOTHING  # answer and thoughts of the rounds before it
        self._closed_kinds: list[Fields] = []
        self._perhaps_all: tuple[int, int] | None = None  # of a last report, maybe of all rounds
        self._doubt = False
        self._only_prompt = False
        self._tool = False
        self._unread: set[str] = set()  # counts whose latest report could not be read
        self._typed: wire.Usage | None = None  # the last report, if it was one of these
        self._behind = False  # whether it has not been put to the others yet
        self.in_rounds = False
        self.missed = False

    @property
    def empty(self) -> bool:
        """Whether nothing was reported at all."""
        return self._now is None and self._first is None

    def report(self, found: wire.Usage) -> None:
        """Take one report as nearly every event has it.

        One that says all that the one before said, and more, takes its place: that is looked at in
        a fraction of the time that it takes to put the two together.
        """
        typed = self._typed
        if typed is None and self._now is None and not self.in_rounds:
            self._first = found
            if found.total_token_count or found.prompt_token_count or found.candidates_token_count:
                self.missed = False
        elif typed is not None and not self.in_rounds and supersedes(found, typed):
            self._behind = True
            if found.total_token_count or found.prompt_token_count:
                self.missed = False
        else:
            self.add(of_wire(found))
        self._typed = found

    def add(self, found: Fields) -> None:
        """Take one report: the fields of a `Usage`, its counts whole numbers from 0 on."""
        self._catch_up()
        self._typed = None
        self._add(found)
        self.in_rounds = self._tool or self._only_prompt or self._closed != _NOTHING

    def _catch_up(self) -> None:
        missed = self.missed
        first, self._first = self._first, None
        if first is not None:
            self._add(of_wire(first))
        if self._behind and self._typed is not None:
            self._behind = False
            self._add(of_wire(self._typed))
        self.missed = missed

    def _add(self, found: Fields) -> None:
        counts = bool(found.get(_TOTAL) or found.get(_PROMPT) or found.get(_ANSWER))
        if counts:
            self.missed = False
        if self._unread or "extra_json" in found:
            self._unread.difference_update([name for name in COUNTS if found.get(name)])
            self._unread |= unread(found)
        now = self._now
        if now is None:
            self._now = {name: value for name, value in found.items() if value is not None}
            return
        outputs = found.get(_ANSWER) or 0, found.get(_THOUGHTS) or 0
        if outputs != _NOTHING:
            before = now.get(_ANSWER) or 0, now.get(_THOUGHTS) or 0
            if outputs[0] < before[0] or outputs[1] < before[1] or self.in_rounds:
                found = self._compare(found, outputs, before)
            self._only_prompt = self._tool = False
        elif counts and (found.get(_TOTAL) or found.get(_PROMPT) or 0) < (now.get(_TOTAL) or 0):
            self._only_prompt = True
        _merge(now, found)

    def watch(self, deltas: Iterable[Fields]) -> None:
        """Look whether Gemini ran a tool in an event whose usage has been added."""
        parts = (part for delta in deltas for part in delta.get("parts") or ())
        if any(not _RUN_BY_GEMINI.isdisjoint(part) for part in parts):
            self._tool = self.in_rounds = True

    def alone(self) -> wire.Usage | None:
        """Return the last report if it says by itself what it came to, as nearly always."""
        first = self._first
        if first is None or self._typed is first:
            return first
        # a count of 0 that a later report leaves out stays
        zeros = 0 in (
            first.prompt_token_count,
            first.candidates_token_count,
            first.thoughts_token_count,
            first.tool_use_prompt_token_count,
            first.cached_content_token_count,
            first.total_token_count,
        )
        return None if zeros else self._typed

    def put(self, target: Usage, *, ended: bool, said: bool) -> None:
        """Write what `came_to` returns into an empty message."""
        last = self.alone()
        if last is None:
            target.MergeFrom(proto_fields.make(Usage, **self.came_to(ended=ended, said=said)))
            return
        put(target, last)
        doubt = self.missed or not ended or _doubtful(*_counts_in(last), said=said)
        target.quality = _ESTIMATED if doubt else _EXACT

    def came_to(self, *, ended: bool, said: bool) -> Fields:
        """Return the fields of `Usage`, with their quality.

        Args:
            ended: Whether the answer came to its end.
            said: Whether it said anything.
        """
        self._catch_up()
        used = dict(self._now or {})
        doubt = self._doubt or self.missed or bool(self._unread) or not ended
        if self._closed != _NOTHING:
            doubt = True
            self._put_rounds(used)
        doubt = doubt or _doubtful(*_counts_of(used), said=said)
        return {**used, "quality": _ESTIMATED if doubt else _EXACT}

    def _compare(self, found: Fields, new: tuple[int, int], old: tuple[int, int]) -> Fields:
        """Look what counts of answer and thoughts mean that are lower; return what to merge."""
        if self._perhaps_all is not None:  # it was of this round, after all
            old = (max(old[0], self._perhaps_all[0]), max(old[1], self._perhaps_all[1]))
            self._perhaps_all = None
            if self._now is not None:
                self._now[_ANSWER], self._now[_THOUGHTS] = old
        lower = new[0] < old[0], new[1] < old[1]
        # what is left out has fallen only where the other has fallen too
        fell = lower[0] and (new[0] > 0 or lower[1]), lower[1] and (new[1] > 0 or lower[0])
        all_fell = any(fell) and all(f or not o for f, o in zip(fell, old, strict=True))
        hint = self._only_prompt or self._tool
        if (all_fell and (hint or 2 * sum(new) < sum(old))) or (
            self._only_prompt and (self._tool or any(fell))
        ):
            self._close(old)
            return found
        self._doubt |= any(fell)
        return found if self._closed == _NOTHING else self._whole(found, new, old)

    def _whole(self, found: Fields, new: tuple[int, int], old: tuple[int, int]) -> Fields:
        """Look whether a report in a later round is of all rounds; return what to merge."""
        sums = self._closed[0] + old[0], self._closed[1] + old[1]
        if self._rose(found, _PROMPT):
            whole = new[0] >= sums[0] and new[1] >= sums[1]
            if not whole:
                self._perhaps_all = new
                return {**found, _ANSWER: None, _THOUGHTS: None}
        else:
            whole = new == sums and (self._closed[1] > 0 or self._rose(found, _TOOLS))
        if whole:
            self._closed = _NOTHING
            if found.get(_KINDS):
                self._closed_kinds = []
        return found

    def _rose(self, found: Fields, name: str) -> bool:
        before = self._now.get(name) if self._now else None
        return (found.get(name) or 0) > (before or 0)

    def _close(self, outputs: tuple[int, int]) -> None:
        now = self._now or {}
        self._closed = self._closed[0] + outputs[0], self._closed[1] + outputs[1]
        self._closed_kinds += now.pop(_KINDS, None) or ()
        for name in (_ANSWER, _THOUGHTS):
            now.pop(name, None)

    def _put_rounds(self, used: Fields) -> None:
        """Add the rounds that were counted for themselves."""
        last = self._perhaps_all or _NOTHING
        for name, closed, at_least in zip((_ANSWER, _THOUGHTS), self._closed, last, strict=True):
            if closed or at_least:
                used[name] = min(MOST, max(closed + (used.get(name) or 0), at_least))
        used[_TOTAL] = min(MOST, max(used.get(_TOTAL) or 0, _sum_of_parts(used)))
        kinds = [*self._closed_kinds, *(used.get(_KINDS) or ())]
        if kinds:
            used[_KINDS] = kinds


def _merge(now: Fields, found: Fields) -> None:
    """Put a later report over what was reported; what it leaves out, or gives as 0, stays."""
    for word, raw in _WORDS:
        if raw in found:
            now.pop(word, None)
        elif word in found:
            now.pop(raw, None)
    extra = extra_of(now) if "extra_json" in found else {}
    for name, value in found.items():
        if value:
            now[name] = value
        elif value is not None:
            now.setdefault(name, value)
    if extra:
        now.pop("extra", None)
        now.update(free_json.extra_of({**extra, **extra_of(found)}))


def _doubtful(counts: Counts, kinds: Kinds, *, said: bool) -> bool:
    """Tell whether counts contradict each other, or lack what they should have.

    Args:
        counts: In the order of `COUNTS`, 0 for what is not known.
        kinds: By kind of medium together: of prompt, answer, tools, and what was cached.
        said: Whether the answer said anything.
    """
    prompt, answer, thoughts, tools, cached, total = counts
    if not prompt or (said and not (answer or thoughts)) or cached > prompt:
        return True
    if total and total != prompt + answer + thoughts + tools:
        return True
    of_prompt, of_answer, of_tools, of_cached = kinds
    return of_prompt > prompt or of_answer > answer or of_tools > tools or of_cached > cached


def _counts_of(used: Fields) -> tuple[Counts, Kinds]:
    counts = (
        used.get(_PROMPT) or 0,
        used.get(_ANSWER) or 0,
        used.get(_THOUGHTS) or 0,
        used.get(_TOOLS) or 0,
        used.get(_CACHED) or 0,
        used.get(_TOTAL) or 0,
    )
    of_prompt, of_answer, of_tools, of_cached = (
        sum(one.get("token_count") or 0 for one in used.get(name) or ()) for name in DETAILS
    )
    return counts, (of_prompt, of_answer, of_tools, of_cached)


def _counts_in(found: wire.Usage) -> tuple[Counts, Kinds]:
    counts = (
        found.prompt_token_count or 0,
        found.candidates_token_count or 0,
        found.thoughts_token_count or 0,
        found.tool_use_prompt_token_count or 0,
        found.cached_content_token_count or 0,
        found.total_token_count or 0,
    )
    kinds = (
        _sum_of_kinds(found.prompt_tokens_details),
        _sum_of_kinds(found.candidates_tokens_details),
        _sum_of_kinds(found.tool_use_prompt_tokens_details),
        _sum_of_kinds(found.cache_tokens_details),
    )
    return counts, kinds


def _sum_of_kinds(counts: list[wire.ModalityCount] | None) -> int:
    if counts is None:
        return 0
    if len(counts) == 1:
        return counts[0].token_count or 0
    return sum([one.token_count or 0 for one in counts])


def _sum_of_parts(used: Fields) -> int:
    parts: list[int] = [used.get(name) or 0 for name in _PARTS]
    return sum(parts)
