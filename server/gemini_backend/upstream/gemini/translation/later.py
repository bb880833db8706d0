"""Lists and Structs of a large request, turned into JSON a little at a time.

A request may have tens of thousands of parts and of values in Structs, each of which takes
microseconds. Where a request is translated in slices, what may hold many others is put off: its
place is taken by an empty list or object, which is filled later.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Iterator

    Jobs = deque[Iterator[None]]

LATER: ContextVar[Jobs | None] = ContextVar("gemini_translated_later", default=None)
"""What is put off; None where everything is translated at once."""


def put_off(job: Callable[[], Iterator[None]]) -> None:
    """Do a job later, or now; it is one that can pause at each of its yields."""
    later = LATER.get()
    if later is None:
        for _ in job():
            pass
    else:
        later.append(job())


def worked_off(later: Jobs) -> Iterator[None]:
    """Do what was put off, and what is put off meanwhile; each yield is a place to pause."""
    while later:
        yield from later.popleft()
