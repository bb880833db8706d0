"""`python -m bench.tokens`: how fast tokens are counted, and whether anything waits for it.

Prints the time until the first count, that of short texts and of long ones, and, while a prompt of
5 MB is counted, the longest that the event loop worked at one stretch. `--check` fails where a
limit is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import time
from typing import TYPE_CHECKING

import uvloop

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.call import Call
from gemini_backend.clock import SystemClock
from gemini_backend.config import read
from gemini_backend.errors import ContextTooLong
from gemini_backend.policies.conversations.context import Context
from gemini_backend.policies.pipeline import Pipeline
from gemini_backend.processing.tokens.counting import TokenCounter
from gemini_backend.processing.tokens.tokenizer import Tokenizer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from gemini_backend.config.sections.tokens import TokensOptions

WORDS = (
    "The {0}th quick brown fox jumps over {0} lazy dogs, {1}; and they don't mind: x[{0}] = 1.\n"
)
HUGE = 5_000_000
SHORT_ROUNDS, CHECK_ROUNDS = 300, 100_000
MODEL = "models/gemini-3.5-flash"
LIMIT = 1_048_576
CALL = Call(method="", execution="", arrived=0.0)
# milliseconds for 1,000 characters; of the event loop's time at one stretch
MOST_MS, MOST_BLOCKED_MS = 0.6, 5.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints; returns 1 where a limit was missed and `--check` is set."""
    parser = argparse.ArgumentParser(prog="python -m bench.tokens", description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail where a limit is missed")
    options = parser.parse_args(arguments)
    missed = uvloop.run(_measure())
    for one in missed:
        print(f"missed: {one}", file=sys.stderr)
    return 1 if missed and options.check else 0


async def _measure() -> list[str]:
    config = read(None, os.environ).config.tokens
    tokenizer = Tokenizer(lambda: config, SystemClock())
    try:
        begun = time.perf_counter()
        if await tokenizer.count(["first"]) is None:
            return [tokenizer.problem]
        _tell("until the first count", time.perf_counter() - begun, "s")
        await _short(tokenizer)
        per_thousand = await _long(tokenizer)
        blocked = await _blocked(config, tokenizer)
        await _unasked(config, tokenizer)
    finally:
        await tokenizer.aclose()
    missed = []
    if per_thousand > MOST_MS:
        missed.append(f"{per_thousand:.2f} ms for 1,000 characters, limit {MOST_MS}")
    if blocked > MOST_BLOCKED_MS:
        missed.append(f"the event loop worked for {blocked:.1f} ms, limit {MOST_BLOCKED_MS}")
    return missed


async def _short(tokenizer: Tokenizer) -> None:
    taken = []
    for number in range(SHORT_ROUNDS):
        begun = time.perf_counter()
        await tokenizer.count([WORDS.format(number, "once")])
        taken.append(time.perf_counter() - begun)
    _tell("a sentence, median", statistics.median(taken) * 1e3, "ms")


async def _long(tokenizer: Tokenizer) -> float:
    text = _text(1_000_000, "counted")
    begun = time.perf_counter()
    tokens = await tokenizer.count([text])
    taken = (time.perf_counter() - begun) * 1e3
    _tell("1,000 characters of 1,000,000", taken / 1000, "ms")
    begun = time.perf_counter()
    assert tokens == await tokenizer.count([text])
    _tell("the same again", (time.perf_counter() - begun) * 1e6 / 1000, "us")
    return taken / 1000


async def _blocked(config: TokensOptions, tokenizer: Tokenizer) -> float:
    """Print the stretch for the first prompt of 5 MB; return that of the next one, in ms.

    The first one's is longer: memory is asked of the system, that later ones are given again.
    """
    context = _context(config, tokenizer)
    for word in ("first", "next"):
        request = pb.ExecuteRequest(model=MODEL, prompt=_text(HUGE, word))
        begun = time.perf_counter()
        refusal, stretch = await _watched(context(CALL, request))
        taken = time.perf_counter() - begun
        _tell(f"the {word} 5 MB refused, {refusal.metadata['tokens']} tokens", taken, "s")
        _tell("the event loop's longest stretch meanwhile", stretch, "ms")
    return stretch


async def _watched(work: Awaitable[object]) -> tuple[ContextTooLong, float]:
    """Return what work raises, and the most CPU time, in ms, that the loop used at one stretch."""
    worst, last, stop = 0.0, time.thread_time(), asyncio.Event()

    async def watch() -> None:
        nonlocal worst, last
        while not stop.is_set():
            await asyncio.sleep(0)
            now = time.thread_time()
            worst, last = max(worst, now - last), now

    watching = asyncio.create_task(watch())
    try:
        await work
    except ContextTooLong as error:
        refusal = error
    stop.set()
    await watching
    return refusal, worst * 1e3


async def _unasked(config: TokensOptions, tokenizer: Tokenizer) -> None:
    """Print what the layer costs a request that fits by its bytes."""
    context = _context(config, tokenizer)
    request = pb.ExecuteRequest(model=MODEL, prompt=_text(2000, "short"))
    begun = time.perf_counter()
    for _ in range(CHECK_ROUNDS):
        await context(CALL, request)
    _tell(
        "the check of a request that fits", (time.perf_counter() - begun) * 1e6 / CHECK_ROUNDS, "us"
    )


def _context(
    config: TokensOptions, tokenizer: Tokenizer
) -> Callable[[Call, pb.ExecuteRequest], Awaitable[pb.ProcessResponse]]:
    async def answer(_call: Call, _request: pb.ExecuteRequest) -> pb.ProcessResponse:
        return pb.ProcessResponse()

    counter = TokenCounter(tokenizer, lambda name: name)
    return Pipeline(Context(lambda: config, lambda _: (LIMIT, 65_536), counter)).unary(answer)


def _text(size: int, word: str) -> str:
    text = "".join(WORDS.format(number, word) for number in range(size // 70))
    return text[:size]


def _tell(what: str, figure: float, unit: str) -> None:
    print(f"{what:<46} {figure:>8.2f} {unit}")


if __name__ == "__main__":
    sys.exit(main())
