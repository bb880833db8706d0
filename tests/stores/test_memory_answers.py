"""Answers in memory against a small model of what they should do, and their real size.

Covers: stores/answer_store.py
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gemini_backend.stores.answer_store import StoredAnswer
from gemini_backend.stores.memory_answers import MemoryAnswers, size_of

MAX_ENTRIES, MAX_BYTES = 4, 5000
KEYS = st.sampled_from([b"a", b"b", b"c", b"d", b"e", b"f"])


def answer(size: int, now: float, keep: float) -> StoredAnswer:
    return StoredAnswer((b"x" * size,), now, now + keep / 2, now + keep)


class AnswersAgainstDict(RuleBasedStateMachine):
    """A dict in the order of use, with times, says what is to be found at any moment."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.store = MemoryAnswers(MAX_ENTRIES, MAX_BYTES, lambda: self.now)
        self.model: dict[bytes, StoredAnswer] = {}
        self.stored = 0

    def run(self, coroutine: Any) -> Any:
        """Run what never waits for anything."""
        try:
            coroutine.send(None)
        except StopIteration as done:
            return done.value
        raise AssertionError("a store in memory waited")

    def forget_the_expired(self) -> None:
        self.model = {k: v for k, v in self.model.items() if self.now < v.kept_until}

    @rule(key=KEYS, size=st.integers(0, 6000), keep=st.integers(0, 20))
    def put(self, key: bytes, size: int, keep: int) -> None:
        one = answer(size, self.now, keep)
        fits = size_of(one) <= MAX_BYTES and keep > 0
        assert fits == self.run(self.store.put(key, one))
        if not fits:
            return
        self.stored += 1
        self.forget_the_expired()
        if key not in self.model:
            while len(self.model) >= MAX_ENTRIES:
                del self.model[next(iter(self.model))]
        others = dict(self.model)
        size_before = sum(map(size_of, others.values()))
        growth = size_of(one) - (size_of(others[key]) if key in others else 0)
        while size_before + growth > MAX_BYTES:
            oldest = next(iter(others))
            size_before -= size_of(others.pop(oldest))
            if oldest == key:
                growth = size_of(one)
        others.pop(key, None)
        others[key] = one
        self.model = others

    @rule(key=KEYS)
    def get(self, key: bytes) -> None:
        self.forget_the_expired()
        found = self.run(self.store.get(key))
        assert self.model.get(key) == found
        if found is not None:
            self.model[key] = self.model.pop(key)

    @rule(seconds=st.integers(0, 10))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    @invariant()
    def bounds_and_figures_hold(self) -> None:
        self.forget_the_expired()
        assert len(self.model) == self.store.entries <= MAX_ENTRIES
        assert sum(map(size_of, self.model.values())) == self.store.bytes <= MAX_BYTES
        oldest = min((one.stored for one in self.model.values()), default=None)
        assert (None if oldest is None else self.now - oldest) == self.store.oldest_age
        assert self.stored == self.store.stores


TestAnswersAgainstDict = AnswersAgainstDict.TestCase
TestAnswersAgainstDict.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_what_goes_is_counted_by_its_reason() -> None:
    """Want of room is an eviction, time is an expiration, too large is a refusal."""
    now = [0.0]
    store = MemoryAnswers(2, 100_000, lambda: now[0])

    async def run() -> None:
        for key in (b"a", b"b", b"c"):
            await store.put(key, answer(10, now[0], 5))
        assert not await store.put(b"huge", answer(200_000, now[0], 5))
        now[0] = 6.0
        assert 0 == store.entries

    asyncio.run(run())
    assert (3, 1, 2, 1) == (
        store.stores,
        store.evictions,
        store.expirations,
        store.refusals,
    )


MEASURE = """
import asyncio, gc, os, sys
from gemini_backend.stores.answer_store import StoredAnswer
from gemini_backend.stores.memory_answers import MemoryAnswers

def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

async def main(limit, size):
    store = MemoryAnswers(10**6, limit, lambda: 1.0)
    gc.collect()
    before = resident()
    for number in range(100_000):
        events = (os.urandom(60), os.urandom(size), os.urandom(90))
        answer = StoredAnswer(events, number * 0.1, number + 2.5, number + 9.5)
        await store.put(os.urandom(32), answer)
    gc.collect()
    print((resident() - before) / limit, store.bytes / limit)

asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
"""


def test_a_full_cache_takes_the_memory_it_was_given() -> None:
    """After 100,000 answers the resident memory is the configured bytes, within 15 %."""
    for size in (300, 2000):
        limit = 95_000 * (size + 1000)
        out = subprocess.run(
            [sys.executable, "-c", MEASURE, str(limit), str(size)],
            check=True,
            capture_output=True,
            text=True,
        )
        resident, counted = map(float, out.stdout.split())
        assert 0.99 < counted <= 1
        assert 0.85 <= resident <= 1.15
