"""Talks to a worker process: many questions may be under way, and are answered in order."""

from __future__ import annotations

import asyncio
import os
import struct
import sys
from collections import deque
from typing import TYPE_CHECKING, cast

from gemini_backend.processing.workers import worker

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_NUMBER = struct.Struct(">I")
_READY = b"ready\n"


class Link:
    """The process, and the questions that it has not answered yet, in their order."""

    def __init__(
        self,
        name: str,
        process: asyncio.subprocess.Process,
        sink: asyncio.StreamWriter,
        source: asyncio.StreamReader,
        answer_bytes: int,
    ) -> None:
        """Talk to a process that has said that it is ready; an answer has so many bytes a text."""
        self._name = name
        self._process = process
        self._sink, self._source = sink, source
        self._answer_bytes = answer_bytes
        self._asked: deque[tuple[int, asyncio.Future[bytes]]] = deque()
        self._reading = asyncio.create_task(self._read())
        self.alive = True

    @classmethod
    async def begin(
        cls, name: str, *arguments: str, environ: Mapping[str, str], answer_bytes: int
    ) -> Link:
        """Start `worker.py` with these arguments, and wait until it is ready.

        Args:
            name: What it is called in errors.
            arguments: What it is told on its command line.
            environ: What it is told by its environment, where the server's `PATH` is all else.
            answer_bytes: Length of its answer to one text.

        Raises:
            OSError: it could not be started, or cannot do its work.
        """
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            worker.__file__,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            # it has no business with the server's secrets
            env={"PATH": os.environ.get("PATH", ""), **environ},
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
            raise OSError(said.decode(errors="replace").strip() or f"the {name} did not start")
        return cls(name, process, sink, source, answer_bytes)

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    async def ask(self, texts: Sequence[bytes]) -> bytes:
        """Return the answers to texts, one after the other.

        Raises:
            OSError: the process has ended.
        """
        if not self.alive:
            raise OSError(f"the {self._name} has ended")
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._asked.append((len(texts), answer))
        frames = [_NUMBER.pack(len(texts))]
        for text in texts:
            frames += (_NUMBER.pack(len(text)), text)
        self._sink.write(b"".join(frames))
        await self._sink.drain()
        return await answer

    def end(self) -> None:
        """Kill the process; whoever waits for it is told."""
        if self.alive:
            self.alive = False
            self._process.kill()

    async def aclose(self) -> None:
        """Kill the process and wait until it is gone."""
        self.end()
        await asyncio.gather(self._reading, return_exceptions=True)

    async def _read(self) -> None:
        """Hand on the answers until the process ends."""
        try:
            while True:
                head = await self._source.readexactly(self._answer_bytes)
                number, answer = self._asked.popleft()
                rest = await self._source.readexactly(self._answer_bytes * (number - 1))
                if not answer.done():
                    answer.set_result(head + rest)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            self.alive = False
            for _, answer in self._asked:
                if not answer.done():
                    answer.set_exception(OSError(f"the {self._name} has ended"))
            self._asked.clear()
            await self._process.wait()
