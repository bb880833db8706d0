"""Counts the tokens of texts by a process of its own."""

from __future__ import annotations

import asyncio
import struct
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from cachetools import LRUCache

from gemini_backend.processing.tokens.text_chunks import pieces
from gemini_backend.processing.tokens.vocabulary import SHA256, problem_with
from gemini_backend.processing.workers import Link, NotYet, WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gemini_backend.clock import Clock
    from gemini_backend.config.sections.tokens import TokensOptions

# Texts go to the worker in messages of about so many characters.
_MESSAGE = 65_536
# and of so many texts at the most, however short.
_TEXTS = 1024
# How many pieces' counts are remembered; the one unused for longest is counted again.
_REMEMBERED = 16_384
# A count is one number.
_ANSWER_BYTES = 4


class Tokenizer(WorkerProcess):
    """Counts tokens without blocking the event loop; says None where it cannot."""

    def __init__(self, options: Callable[[], TokensOptions], clock: Clock) -> None:
        """Read the options anew for each count; nothing is started yet."""
        super().__init__(clock, "tokens are estimated")
        self._options = options
        self._counts: LRUCache[bytes, int] = LRUCache(_REMEMBERED)

    async def count(self, texts: Sequence[str]) -> int | None:
        """Return how many tokens texts have together; None where they cannot be counted.

        Texts of any length; the event loop is blocked for a few milliseconds at most.
        """
        total, waiting, size = 0, list[str](), 0
        try:
            async with self._clock.timeout(self._options().count_timeout_seconds):
                for text in texts:
                    for piece in pieces(text):
                        waiting.append(piece)
                        size += len(piece)
                        if size >= _MESSAGE or len(waiting) >= _TEXTS:
                            total += await self._ask(waiting)
                            waiting, size = [], 0
                return total + await self._ask(waiting) if waiting else total
        except NotYet:
            pass
        except TimeoutError:
            self._fail("counting took too long (tokens.count_timeout_seconds)")
        except OSError as error:
            self._fail(str(error))
        return None

    async def _ask(self, texts: Sequence[str]) -> int:
        """Return the sum of the texts' tokens, remembered ones unasked."""
        total = 0
        unknown: dict[bytes, bytes] = {}
        times: dict[bytes, int] = {}
        for text in texts:
            data = text.encode(errors="replace")
            key = sha256(data).digest()
            known = self._counts.get(key)
            if known is None:
                unknown[key] = data
                times[key] = times.get(key, 0) + 1
            else:
                total += known
        if not unknown:
            await asyncio.sleep(0)
            return total
        answers = await self._answers(list(unknown.values()))
        for key, count in zip(unknown, struct.unpack(f">{len(unknown)}I", answers), strict=True):
            self._counts[key] = count
            total += count * times[key]
        return total

    async def _begin(self) -> Link:
        file = _usable(self._options().vocabulary_file)
        environ = {"TOKENIZERS_PARALLELISM": "false"}
        return await Link.begin(
            "tokenizer", "tokens", str(file), SHA256, environ=environ, answer_bytes=_ANSWER_BYTES
        )

    def _idle_seconds(self) -> float:
        return self._options().idle_seconds


def _usable(name: str) -> Path:
    """Return the path of the vocabulary.

    Raises:
        OSError: it cannot be used.
    """
    file = Path(name).expanduser()
    problem = problem_with(file)
    if problem:
        raise OSError(problem)
    return file
