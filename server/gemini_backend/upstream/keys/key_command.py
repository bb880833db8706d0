"""Keys that a program prints, such as the client of a vault."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

from gemini_backend.upstream.keys.key_lines import MAX_BYTES, keys_in
from gemini_backend.upstream.keys.known_key import KeyProblem, KeySource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gemini_backend.clock import Clock
    from gemini_backend.upstream.keys.known_key import KnownKey

TIMEOUT_SECONDS = 30.0
_NAME = "upstream.gemini.api_keys_command"


class KeyCommand:
    """A program with its arguments, run without a shell; what it prints is kept to itself."""

    def __init__(self, arguments: Sequence[str], clock: Clock) -> None:
        """Run nothing yet."""
        self._arguments = arguments
        self._clock = clock

    async def keys(self) -> list[KnownKey]:
        """Run it and return the keys that it prints.

        It is ended, with all that it has started, after 30 s or 1 MiB, or if this is cancelled.

        Raises:
            KeyProblem: it fails, or prints something else; never with what it has printed.
        """
        try:
            process = await asyncio.create_subprocess_exec(
                *self._arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            msg = f"{_NAME} cannot be run ({error.strerror}); give the path of a program"
            raise KeyProblem(msg) from None
        try:
            async with self._clock.timeout(TIMEOUT_SECONDS):
                data = await _output(process)
                code = await process.wait()
        except TimeoutError:
            msg = f"{_NAME} did not end within {TIMEOUT_SECONDS:g} s; run it by hand to see why"
            raise KeyProblem(msg) from None
        finally:
            await _end(process)
        if code:
            msg = f"{_NAME} ended with code {code}; run it by hand to see why"
            raise KeyProblem(msg)
        where = f"what {_NAME} prints"
        return await asyncio.to_thread(keys_in, data, KeySource.COMMAND, where)


async def _output(process: asyncio.subprocess.Process) -> bytes:
    if process.stdout is None:  # never: it is a pipe
        return b""
    data = bytearray()
    while part := await process.stdout.read(65_536):
        data += part
        if len(data) > MAX_BYTES:
            msg = f"{_NAME} prints more than {MAX_BYTES} bytes; print a key on each line"
            raise KeyProblem(msg)
    return bytes(data)


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a program, and what it has started and left behind in its session."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
