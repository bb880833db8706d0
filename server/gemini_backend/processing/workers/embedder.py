"""Makes vectors of short texts by a process of its own, with a model that lies on this machine."""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from typing import TYPE_CHECKING

from gemini_backend.processing.workers.worker_link import Link
from gemini_backend.processing.workers.worker_process import NotYet, WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gemini_backend.clock import Clock

DIMENSIONS = 512
LONGEST_BYTES = 128

_VECTOR = struct.Struct(f">{DIMENSIONS}f")
# So many texts go to the process in one message; together they cost it less than one by one.
_BATCH = 32
# Beyond so many that wait, a text gets no vector: its turn would come too late anyway.
_MOST_WAITING = 1024
# A process that takes longer has hung, and is killed.
_LOAD_SECONDS = 60.0
_ANSWER_SECONDS = 10.0
_IDLE_SECONDS = 600.0
# its own numbers go through one thread: they are small, and streams want the other processors
_ENVIRON = {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}

_Waiting = tuple[bytes, "asyncio.Future[tuple[float, ...] | None]"]


class Embedder(WorkerProcess):
    """Vectors of `DIMENSIONS` numbers of texts of up to `LONGEST_BYTES` bytes of UTF-8.

    The bound is for the sake of meaning, not of time. The model takes the mean over a text's words,
    so the longer two texts are, the less a word weighs in which they differ: beyond some 128 bytes
    two different questions about the same paragraph are as alike as one question in other words.
    Cutting longer texts off would be worse: all that begin alike would be taken for the same.

    Texts are taken in the order in which they were asked for, up to 32 in a message; those of which
    nobody waits for the vector any more are left out. So a crowd that asks for more than the
    process can do costs those their vectors who wait too short a time, and nobody after them.
    """

    def __init__(self, clock: Clock) -> None:
        """Start nothing yet."""
        super().__init__(clock, "the semantic cache is not used; next attempt in half a minute")
        self._waiting: deque[_Waiting] = deque()
        self._sending: asyncio.Task[None] | None = None

    async def vector(self, text: str) -> Sequence[float] | None:
        """Return a text's vector, of length 1; None where there is none.

        There is none of a text that is longer than `LONGEST_BYTES`, or has words or signs that the
        model does not know, nor while the process fails. The first one is waited for until the
        model is loaded, one to two seconds; it goes on loading if the caller does not wait.
        """
        data = text.encode(errors="replace")
        if len(data) > LONGEST_BYTES or len(self._waiting) >= _MOST_WAITING:
            return None
        answer: asyncio.Future[tuple[float, ...] | None]
        answer = asyncio.get_running_loop().create_future()
        self._waiting.append((data, answer))
        if self._sending is None:
            self._sending = asyncio.create_task(self._send())
        return await answer

    async def aclose(self) -> None:
        """End the process; whoever waits gets no vector."""
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.gather(self._sending, return_exceptions=True)
        self._give_up(self._waiting)  # where it had not even begun
        await super().aclose()

    async def _send(self) -> None:
        """Answer until nobody waits."""
        taken: list[_Waiting] = []
        try:
            while self._waiting:
                await self._loaded()
                taken = self._next()
                for (_, answer), vector in zip(taken, await self._vectors(taken), strict=True):
                    if not answer.done():
                        answer.set_result(vector)
        finally:
            self._sending = None
            self._give_up((*taken, *self._waiting))

    def _give_up(self, waiting: Iterable[_Waiting]) -> None:
        for _, answer in waiting:
            if not answer.done():
                answer.set_result(None)
        self._waiting.clear()

    async def _loaded(self) -> None:
        """Let texts wait where they can still be left out, until there is somebody to take them."""
        try:
            await self._ready()
        except OSError as error:
            self._note(error)

    def _next(self) -> list[_Waiting]:
        taken: list[_Waiting] = []
        while self._waiting and len(taken) < _BATCH:
            one = self._waiting.popleft()
            if not one[1].done():
                taken.append(one)
        return taken

    async def _vectors(self, taken: Sequence[_Waiting]) -> list[tuple[float, ...] | None]:
        try:
            async with self._clock.timeout(_ANSWER_SECONDS):
                answers = await self._answers([data for data, _ in taken]) if taken else b""
        except TimeoutError:
            self._fail("a vector took too long")
        except OSError as error:
            self._note(error)
        else:
            return [vector if any(vector) else None for vector in _VECTOR.iter_unpack(answers)]
        return [None] * len(taken)

    def _note(self, error: OSError) -> None:
        if not isinstance(error, NotYet):
            self._fail(str(error))

    async def _begin(self) -> Link:
        try:
            async with self._clock.timeout(_LOAD_SECONDS):
                return await Link.begin(
                    "embedder", "vectors", environ=_ENVIRON, answer_bytes=_VECTOR.size
                )
        except TimeoutError:
            raise OSError("loading the model took too long") from None

    def _idle_seconds(self) -> float:
        return _IDLE_SECONDS
