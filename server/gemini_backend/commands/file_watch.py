"""Notices that the configuration file has changed, whatever way it was changed.

The file is read and compared twice a second, in a thread of its own, rather than watched by the
system: that works on every file system, and for editors that put another file in its place and for
Kubernetes, which turns a link. Half a file is not taken, since what is read must stay the same
from one look to the next.
"""

from __future__ import annotations

import hashlib
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from gemini_backend.sizes import MIB

if TYPE_CHECKING:
    import asyncio

    from gemini_backend.commands.reload import Reloader

PAUSE_SECONDS = 0.5


def content_of(file: str) -> bytes:
    """Return a mark of a file's content; empty where it cannot be read.

    Of a file larger than 1 MiB, which no configuration may be, the beginning is compared.
    """
    try:
        with Path(file).open("rb") as opened:
            data = opened.read(MIB + 1)
    except OSError:
        return b""
    return hashlib.blake2b(data, digest_size=16).digest()


class FileWatch:
    """Asks a reloader once the file's content differs from what it has dealt with last."""

    def __init__(self, reloader: Reloader) -> None:
        """Watch nothing yet."""
        self._reloader = reloader
        self._ended = threading.Event()
        self._before: bytes | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin, in a thread that ends with the process or with `stop`."""
        threading.Thread(
            target=self._run, args=(loop,), name="configuration file", daemon=True
        ).start()

    def stop(self) -> None:
        """Look no more."""
        self._ended.set()

    def look(self) -> bool:
        """Look once; say whether the file has changed, and is the same as at the last look."""
        content = content_of(self._reloader.file)
        settled = content == self._before
        self._before = content
        return settled and content != self._reloader.taken

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        while not self._ended.wait(PAUSE_SECONDS):
            if self.look():
                with suppress(RuntimeError):  # the loop was closed
                    loop.call_soon_threadsafe(self._reloader.found_changed)
