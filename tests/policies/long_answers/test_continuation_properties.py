"""Whatever the hops and whatever fails: no text twice, none missing, one end, the sum of usage."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_backend.config.sections.resilience import RetryOptions
from gemini_backend.errors import ServiceError, StreamCut
from gemini_backend.policies.attempts.retry import Retry
from tests.support.clock import FakeClock
from tests.support.upstreams.hop_upstream import (
    EXACT,
    STOP,
    LongAnswer,
    Run,
    asked,
    hop,
    kinds,
    said,
    text_of,
    usage_of,
)
from tests.support.upstreams.scripted_attempts import finish

TRIES = 3
# hops of pieces; two empty ones in a row at the most, and the answer says something
PIECES = st.lists(st.text("abc", min_size=1, max_size=4), max_size=4)
HOPS = st.lists(PIECES, min_size=1, max_size=6).filter(
    lambda hops: any(hops) and not any(not (a or b or c) for a, b, c in _threes(hops))
)


def _threes(hops: list[list[str]]) -> list[tuple[list[str], list[str], list[str]]]:
    return list(zip(hops, hops[1:], hops[2:], strict=False))


@dataclass(frozen=True)
class Fault:
    """A hop breaks off behind so many events, and the next tries of it before their first."""

    hop: int
    events: int
    times: int


FAULTS = st.builds(Fault, st.integers(0, 5), st.integers(0, 5), st.integers(1, 4))


def plays_of(hops: list[list[str]], fault: Fault | None = None) -> dict[bytes, list[list[Any]]]:
    """Return what an upstream plays by token, each hop with a usage of its own."""
    plays: dict[bytes, list[list[Any]]] = {}
    for place, texts in enumerate(hops):
        token = b"t%d" % (place + 1) if place < len(hops) - 1 else b""
        whole: list[Any] = hop(*texts, token=token, usage=usage_of(7, 3 * len(texts)))
        tries: list[list[Any]] = [whole]
        if fault is not None and place == fault.hop:
            first = [*whole[: min(fault.events, len(whole) - 1)], StreamCut("cut")]
            later: list[list[Any]] = [[StreamCut("cut")]] * (fault.times - 1)
            tries = [first, *later, whole]
        plays[b"t%d" % place if place else b""] = tries
    return plays


def run_of(plays: dict[bytes, list[list[Any]]]) -> Run:
    """Return a run with retries."""
    clock = FakeClock()
    options = RetryOptions(
        max_attempts=TRIES, budget_ratio=10, budget_min_per_second=1000, initial_delay_ms=1
    )
    retry = Retry(lambda: options, clock, Random(1))
    return Run(clock, LongAnswer(clock, plays), inside=[retry])


@given(hops=HOPS)
def test_any_split_gives_the_same_answer(hops: list[list[str]]) -> None:
    """However an answer is split into hops, its text, its end and its usage are the same."""

    async def both() -> tuple[list[Any], Any]:
        stream, whole = run_of(plays_of(hops)), run_of(plays_of(hops))
        return await finish(stream.clock, stream.stream()), await finish(whole.clock, whole.whole())

    events, answer = asyncio.run(both())
    text = "".join(piece for pieces in hops for piece in pieces)
    total = usage_of(7 * len(hops), 3 * sum(map(len, hops)))
    total.quality = EXACT
    names = kinds(events)
    assert ("started", "completed") == (names[0], names[-1])
    assert {"delta"} == set(names[1:-1])
    done = events[-1].completed
    assert (text, STOP, len(hops) - 1, total) == (
        said(events),
        done.finish_reason,
        done.continuations,
        done.usage,
    )
    assert (text, len(hops) - 1, total) == (text_of(answer), answer.continuations, answer.usage)
    numbers = [event.delta.upstream_event for event in events[1:-1]]
    assert list(range(1, len(numbers) + 1)) == numbers


@given(hops=HOPS, fault=FAULTS)
def test_no_fault_repeats_or_loses_text(hops: list[list[str]], fault: Fault) -> None:
    """What was handed on is a beginning of the answer; with the token, the rest is the rest."""
    text = "".join(piece for pieces in hops for piece in pieces)
    fault = Fault(min(fault.hop, len(hops) - 1), fault.events, fault.times)
    asyncio.run(_fail(hops, fault, text))


async def _fail(hops: list[list[str]], fault: Fault, text: str) -> None:
    run = run_of(plays_of(hops, fault))
    if fault.events == 0 and fault.times < TRIES:
        assert text == said(await finish(run.clock, run.stream()))
        return
    with pytest.raises(ServiceError) as failed:
        await finish(run.clock, run.stream())
    assert text.startswith(said(run.seen))
    asked_for = run.upstream.tokens
    assert asked_for == sorted(asked_for)  # no hop before the one that failed is asked for again
    told, place = failed.value.failure, fault.hop
    token = b"" if told is None else told.continuation_token
    assert (b"t%d" % place if place else b"") == token
    if not place:
        return
    assert told is not None
    whole_hops = 7 * place
    assert whole_hops <= told.usage.prompt_token_count <= whole_hops + 7
    after = int(failed.value.metadata["continuation_after_event"])
    kept = said(event for event in run.seen if event.delta.upstream_event <= after)
    rest = run_of(plays_of(hops))
    later = await finish(rest.clock, rest.stream(asked(continuation_token=token)))
    assert text == kept + said(later)


@given(hops=HOPS, fault=FAULTS)
def test_a_whole_answer_is_whole_or_fails(hops: list[list[str]], fault: Fault) -> None:
    """Of a whole answer a hop may be made again wherever it broke off; else the token is told."""
    text = "".join(piece for pieces in hops for piece in pieces)
    fault = Fault(min(fault.hop, len(hops) - 1), fault.events, fault.times)

    async def run_it() -> None:
        run = run_of(plays_of(hops, fault))
        if fault.times < TRIES:
            assert text == text_of(await finish(run.clock, run.whole()))
            return
        with pytest.raises(ServiceError) as failed:
            await finish(run.clock, run.whole())
        told = failed.value.failure
        token = b"" if told is None else told.continuation_token
        assert (b"t%d" % fault.hop if fault.hop else b"") == token

    asyncio.run(run_it())
