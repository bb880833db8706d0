"""Vectors are made by a process of its own, in order, for those who still wait for them.

Covers: processing/workers/worker.py, processing/workers/worker_link.py,
processing/workers/worker_process.py
"""

from __future__ import annotations

import asyncio
import logging
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gemini_backend.clock import SystemClock
from gemini_backend.config.sections.embed import SemanticCacheOptions
from gemini_backend.processing.workers.embedder import DIMENSIONS, LONGEST_BYTES, Embedder
from tests.support.clock import FakeClock, settle

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from gemini_backend.clock import Clock


class FakeLink:
    """Answers with as many numbers as there are dimensions, the first being the text's length."""

    def __init__(self) -> None:
        self.alive, self.closed = True, False
        self.asked: list[list[bytes]] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def ask(self, texts: Sequence[bytes]) -> bytes:
        self.asked.append(list(texts))
        await self.may_answer.wait()
        if not self.alive:
            raise OSError("the embedder has ended")
        rest = (0.0,) * (DIMENSIONS - 1)
        return b"".join(struct.pack(f">{DIMENSIONS}f", len(text), *rest) for text in texts)

    def end(self) -> None:
        self.alive = False
        self.may_answer.set()

    async def aclose(self) -> None:
        self.end()
        self.closed = True


class Faked(Embedder):
    """One whose processes are made up; `links` has those that were started."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.links: list[FakeLink] = []
        self.may_load = asyncio.Event()
        self.may_load.set()
        self.failure = ""

    async def _begin(self) -> FakeLink:  # type: ignore[override]
        self.links.append(FakeLink())
        await self.may_load.wait()
        if self.failure:
            raise OSError(self.failure)
        return self.links[-1]


@pytest.fixture
async def embedder(clock: FakeClock) -> AsyncIterator[Faked]:
    """One with made-up processes, on a clock that the test moves."""
    made = Faked(clock)
    yield made
    await made.aclose()


@pytest.fixture
def clock() -> FakeClock:
    """A clock that the test moves."""
    return FakeClock()


async def first(embedder: Embedder, text: str) -> float | None:
    """Return the first number of a text's vector."""
    vector = await embedder.vector(text)
    return None if vector is None else vector[0]


async def test_each_gets_its_own(embedder: Faked) -> None:
    """Those who ask at once are answered together, each with the vector of its own text."""
    lengths = range(1, 81)
    found = await asyncio.gather(*(first(embedder, "x" * length) for length in lengths))
    assert [float(length) for length in lengths] == found
    (link,) = embedder.links
    assert [32, 32, 16] == [len(texts) for texts in link.asked]


async def test_what_is_too_long_is_not_even_asked(embedder: Faked) -> None:
    """Beyond the bound, in bytes, there is no vector: nothing is cut off."""
    assert LONGEST_BYTES == await first(embedder, "é" * (LONGEST_BYTES // 2))
    assert await embedder.vector("é" * (LONGEST_BYTES // 2) + "x") is None
    assert 1 == len(embedder.links[0].asked)


async def test_loading_goes_on_when_nobody_waits(embedder: Faked) -> None:
    """Who cannot wait goes without; the same process answers whoever comes later."""
    embedder.may_load.clear()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await embedder.vector("early")
    await settle()
    embedder.may_load.set()
    assert 4.0 == await first(embedder, "late")
    (link,) = embedder.links
    assert [[b"late"]] == link.asked


async def test_texts_that_nobody_waits_for_are_left_out(embedder: Faked) -> None:
    """While the process is busy, those who go away make no work for it."""
    await embedder.vector("to load it")
    (link,) = embedder.links
    link.may_answer.clear()
    waiting = [asyncio.create_task(first(embedder, text)) for text in ("a", "bb", "ccc")]
    await settle()
    later = [asyncio.create_task(first(embedder, text)) for text in ("dddd", "eeeee")]
    await settle()
    later[0].cancel()
    link.may_answer.set()
    assert [1.0, 2.0, 3.0] == await asyncio.gather(*waiting)
    assert 5.0 == await later[1]
    assert [[b"a", b"bb", b"ccc"], [b"eeeee"]] == link.asked[1:]


async def test_beyond_a_number_nobody_waits(
    embedder: Faked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who comes when too many wait already gets no vector, at once."""
    monkeypatch.setattr("gemini_backend.processing.workers.embedder._MOST_WAITING", 3)
    embedder.may_load.clear()
    waiting = [asyncio.create_task(first(embedder, "abc")) for _ in range(3)]
    await settle()
    assert await embedder.vector("one more") is None
    embedder.may_load.set()
    assert [3.0] * 3 == await asyncio.gather(*waiting)


async def test_a_failure_is_logged_once_and_tried_again(
    embedder: Faked, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody waits while it fails; half a minute later it is tried again."""
    embedder.failure = "No module; install it"
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert [None, None] == await asyncio.gather(embedder.vector("a"), embedder.vector("b"))
            await clock.advance(9)
    assert 1 == len(embedder.links)
    (record,) = caplog.records
    assert "No module; install it" == record.__dict__["reason"]
    embedder.failure = ""
    await clock.advance(4)
    assert 1.0 == await first(embedder, "a")
    assert "" == embedder.problem


async def test_a_process_that_ends_is_replaced(embedder: Faked) -> None:
    """One that is found gone costs nobody anything but the time to load another."""
    await embedder.vector("a")
    embedder.links[0].end()
    assert 2.0 == await first(embedder, "bb")
    assert 2 == len(embedder.links)


async def test_a_process_that_ends_while_it_is_asked(embedder: Faked, clock: FakeClock) -> None:
    """Whoever waits goes without, and another is loaded half a minute later."""
    await embedder.vector("a")
    embedder.links[0].may_answer.clear()
    waiting = asyncio.create_task(embedder.vector("b"))
    await settle()
    embedder.links[0].end()
    assert await waiting is None
    assert await embedder.vector("c") is None
    await clock.advance(31)
    assert 1.0 == await first(embedder, "d")


async def test_a_process_that_hangs_is_killed(embedder: Faked, clock: FakeClock) -> None:
    """Whoever waits so long goes without, and another is loaded half a minute later."""
    await embedder.vector("a")
    embedder.links[0].may_answer.clear()
    waiting = asyncio.create_task(embedder.vector("b"))
    await clock.advance(11)
    assert (None, False) == (await waiting, embedder.links[0].alive)
    assert "a vector took too long" == embedder.problem
    await clock.advance(31)
    assert 1.0 == await first(embedder, "c")


async def test_an_idle_process_is_ended(embedder: Faked, clock: FakeClock) -> None:
    """Ten minutes after the last text its memory is given back."""
    await embedder.vector("a")
    await clock.advance(599)
    assert embedder.links[0].alive
    await embedder.vector("b")
    await clock.advance(599)
    assert embedder.links[0].alive
    await clock.advance(2)
    assert not embedder.links[0].alive


async def test_closing_at_once_tells_whoever_waits(embedder: Faked) -> None:
    """Even where nothing has been begun for them yet."""
    waiting = asyncio.create_task(embedder.vector("a"))
    await asyncio.sleep(0)
    await embedder.aclose()
    assert (None, []) == (await waiting, embedder.links)


async def test_closing_tells_whoever_waits(clock: FakeClock) -> None:
    """They get no vector, and no process is left."""
    embedder = Faked(clock)
    await embedder.vector("a")
    embedder.links[0].may_answer.clear()
    waiting = [asyncio.create_task(embedder.vector(text)) for text in ("b", "c")]
    await settle()
    await embedder.aclose()
    assert [None, None] == await asyncio.gather(*waiting)
    assert embedder.links[0].closed


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    """Return how alike two vectors of length 1 are."""
    return sum(a * b for a, b in zip(one, other, strict=True))


def environ_of(pid: int) -> str:
    """Return a process's environment."""
    return Path(f"/proc/{pid}/environ").read_text()


async def real(*texts: str) -> list[Sequence[float] | None]:
    """Return the vectors that the real model makes, in a process that knows no secrets."""
    embedder = Embedder(SystemClock())
    found = [await embedder.vector(text) for text in texts]
    assert embedder._link is not None, embedder.problem
    assert "secret" not in environ_of(embedder._link.pid)
    await embedder.aclose()
    return found


async def test_the_real_model_tells_alike_from_unlike(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the default threshold; what it does not know has no vector."""
    monkeypatch.setenv("GEMINI_API_KEY", "secret")
    question, reworded, other = await real(
        "What is the longest river?", "Which river is the longest?", "Which river is the shortest?"
    )
    assert question is not None
    assert reworded is not None
    assert other is not None
    threshold = SemanticCacheOptions().threshold
    assert 1.0 == pytest.approx(cosine(question, question), abs=1e-5)
    assert cosine(question, reworded) >= threshold
    assert cosine(question, other) < threshold


async def test_what_the_real_model_does_not_know_has_no_vector() -> None:
    """To the model all such words and signs are the same one."""
    assert [None] * 4 == await real("😀", "🚀", "hello 🚀", " \n")
