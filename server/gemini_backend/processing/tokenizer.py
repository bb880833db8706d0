"""Counts the tokens of texts by the worker process: started on first use, ended when idle."""

from __future__ import annotations

import asyncio
import logging
import os
import struct
import sys
from collections import deque
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, cast

from cachetools import LRUCache

from gemini_backend.processing import worker
from gemini_backend.processing.pieces import pieces
from gemini_backend.processing.vocabulary import SHA256, problem_with

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gemini_backend.clock import Alarm, Clock
    from gemini_backend.config.sections.tokens import TokensOptions

_log = logging.getLogger(__name__)

_NUMBER = struct.Struct(">I")
# Texts go to the worker in messages of about so many characters.
_MESSAGE = 65_536
# How many pieces' counts are remembered; the one unused for longest is counted again.
_REMEMBERED = 16_384
# After a failure the worker is not tried again for so long.
_RETRY_SECONDS = 30.0
_READY = b"ready\n"


class Tokenizer:
    """Counts tokens without blocking the event loop; says None where it cannot.

    The worker lives as long as it is used. When it fails, the reason is logged once, and it is
    tried again after half a minute.
    """

    def __init__(self, options: Callable[[], TokensOptions], clock: Clock) -> None:
        """Read the options anew for each count; nothing is started yet."""
        self._options = options
        self._clock = clock
        self._counts: LRUCache[bytes, int] = LRUCache(_REMEMBERED)
        self._link: _Link | None = None
        self._starting: asyncio.Task[_Link] | None = None
        self._idle: Alarm | None = None
        self._used = 0.0
        self._failed_at: float | None = None
        self.problem = ""

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
                        if size >= _MESSAGE:
                            total += await self._ask(waiting)
                            waiting, size = [], 0
                return total + await self._ask(waiting) if waiting else total
        except TimeoutError:
            self._fail("counting took too long (tokens.count_timeout_seconds)")
        except OSError as error:
            self._fail(str(error))
        return None

    async def aclose(self) -> None:
        """End the worker."""
        if self._idle is not None:
            self._idle.cancel()
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)
        if self._link is not None:
            await self._link.aclose()

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
        link = await self._ready()
        for key, count in zip(unknown, await link.count(list(unknown.values())), strict=True):
            self._counts[key] = count
            total += count * times[key]
        self._used = self._clock.now()
        return total

    async def _ready(self) -> _Link:
        if self._link is not None and self._link.alive:
            return self._link
        if self._starting is None:
            if self._failed_at is not None and self._clock.now() < self._failed_at + _RETRY_SECONDS:
                raise OSError(self.problem)
            self._starting = asyncio.create_task(self._start())
            # whoever asked may have gone by the time that it fails
            self._starting.add_done_callback(lambda task: task.cancelled() or task.exception())
        return await asyncio.shield(self._starting)

    async def _start(self) -> _Link:
        try:
            self._link = await _Link.begin(_usable(self._options().vocabulary_file))
        finally:
            self._starting = None
        self._failed_at, self.problem = None, ""
        self._watch_idle(self._options().idle_seconds)
        return self._link

    def _watch_idle(self, seconds: float) -> None:
        self._idle = self._clock.alarm(seconds, self._end_if_idle)

    def _end_if_idle(self) -> None:
        left = self._used + self._options().idle_seconds - self._clock.now()
        if left > 0:
            self._watch_idle(left)
        elif self._link is not None:
            self._link.end()
            self._link = None

    def _fail(self, problem: str) -> None:
        if problem != self.problem:
            _log.warning("tokens are estimated", extra={"reason": problem})
        self.problem = problem
        self._failed_at = self._clock.now()
        if self._link is not None:
            self._link.end()
            self._link = None


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


class _Link:
    """The worker process, and the questions that it has not answered yet, in their order."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        sink: asyncio.StreamWriter,
        source: asyncio.StreamReader,
    ) -> None:
        """Talk to a worker that has said that it is ready."""
        self._process = process
        self._sink, self._source = sink, source
        self._asked: deque[tuple[int, asyncio.Future[tuple[int, ...]]]] = deque()
        self._reading = asyncio.create_task(self._read())
        self.alive = True

    @classmethod
    async def begin(cls, file: Path) -> _Link:
        """Start a worker, and wait until it has read the vocabulary.

        Raises:
            OSError: it could not be started, or cannot count.
        """
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            worker.__file__,
            str(file),
            SHA256,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            # it has no business with the server's secrets
            env={"PATH": os.environ.get("PATH", ""), "TOKENIZERS_PARALLELISM": "false"},
            # a Ctrl-C is for the server, which ends it in its own time
            start_new_session=True,
        )
        sink = cast("asyncio.StreamWriter", process.stdin)
        source = cast("asyncio.StreamReader", process.stdout)
        try:
            said = await source.readline()
        except BaseException:
            process.kill()
            raise
        if said != _READY:
            await process.wait()
            raise OSError(said.decode(errors="replace").strip() or "the tokenizer did not start")
        return cls(process, sink, source)

    async def count(self, texts: Sequence[bytes]) -> tuple[int, ...]:
        """Return the tokens of each text.

        Raises:
            OSError: the worker has ended.
        """
        if not self.alive:
            raise OSError("the tokenizer has ended")
        answer: asyncio.Future[tuple[int, ...]] = asyncio.get_running_loop().create_future()
        self._asked.append((len(texts), answer))
        frames = [_NUMBER.pack(len(texts))]
        for text in texts:
            frames += (_NUMBER.pack(len(text)), text)
        self._sink.write(b"".join(frames))
        await self._sink.drain()
        return await answer

    def end(self) -> None:
        """Kill the worker; whoever waits for it is told."""
        if self.alive:
            self.alive = False
            self._process.kill()

    async def aclose(self) -> None:
        """Kill the worker and wait until it is gone."""
        self.end()
        await asyncio.gather(self._reading, return_exceptions=True)

    async def _read(self) -> None:
        """Hand on the worker's answers until it ends."""
        try:
            while True:
                head = await self._source.readexactly(_NUMBER.size)
                number, answer = self._asked.popleft()
                rest = await self._source.readexactly(_NUMBER.size * (number - 1))
                if not answer.done():
                    answer.set_result(struct.unpack(f">{number}I", head + rest))
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            self.alive = False
            for _, answer in self._asked:
                if not answer.done():
                    answer.set_exception(OSError("the tokenizer has ended"))
            self._asked.clear()
            await self._process.wait()
