"""`python -m bench.cache_memory [SIZE]`: resident memory of 100,000 cached answers.

Prints what the cache counts as its bytes, by how much the process has really grown, and the ratio
of the two. SIZE is the bytes of an answer's text, 600 unless said.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from hashlib import sha256
from pathlib import Path

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.stores.answer_store import StoredAnswer
from gemini_backend.stores.memory_answers import MemoryAnswers

ENTRIES = 100_000
PAGE_BYTES = 4096


async def main(size: int) -> None:
    """Fills a cache and prints the two sizes."""
    store = MemoryAnswers(ENTRIES, 1 << 40, time.monotonic)
    await _fill(store, 0, 100, size)  # what is made once is not an entry's
    gc.collect()
    before, counted = _resident(), store.bytes
    await _fill(store, 100, ENTRIES, size)
    gc.collect()
    grown, bytes_ = _resident() - before, store.bytes - counted
    sys.stdout.write(f"counted {bytes_} grown {grown} ratio {grown / bytes_:.3f}\n")


async def _fill(store: MemoryAnswers, first: int, end: int, size: int) -> None:
    now = time.monotonic()
    for number in range(first, end):
        key = sha256(b"%d" % number).digest()
        text = f"{number} ".ljust(size, "x")
        events = (
            pb.ExecuteResponse(started=pb.Started(model="models/gemini-3.5-flash")),
            pb.ExecuteResponse(delta=pb.Delta(parts=[{"text": text}])),
            pb.ExecuteResponse(completed=pb.Completed(model_version="gemini-3.5-flash")),
        )
        data = tuple(event.SerializeToString() for event in events)
        await store.put(key, StoredAnswer(data, now, now + 3600, now + 7200))


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 600))
