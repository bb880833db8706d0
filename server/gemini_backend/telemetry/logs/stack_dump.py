"""Where each thread and each task of the process is, as places in the code, without values."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import CodeType, FrameType

# Deeper, or further kinds of stacks, are left out.
MOST_PLACES = 20
MOST_STACKS = 50


def thread_stacks() -> dict[str, str]:
    """Return the stack of each thread by its name, innermost place first."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    frames = sys._current_frames()  # noqa: SLF001 - documented, and there is no other way
    return {names.get(ident, str(ident)): _stack(frame) for ident, frame in frames.items()}


def task_stacks() -> dict[str, int]:
    """Return how many tasks of the running loop wait where: the most frequent stacks first.

    At most `MOST_STACKS` of them, innermost place first.
    """
    waits = Counter(_waits(task.get_coro()) for task in asyncio.all_tasks())
    return dict(waits.most_common(MOST_STACKS))


def _stack(frame: FrameType | None) -> str:
    places: list[str] = []
    while frame is not None and len(places) < MOST_PLACES:
        places.append(_place(frame.f_code, frame.f_lineno))
        frame = frame.f_back
    return " < ".join(places)


def _waits(coroutine: Any) -> str:
    """Return where a task waits: `task.get_stack` has its outermost place only."""
    places: list[str] = []
    while coroutine is not None and len(places) < MOST_PLACES:
        kind = next((one for one in ("cr", "ag", "gi") if hasattr(coroutine, f"{one}_code")), "")
        if not kind:  # what is awaited by C code, such as a future
            break
        frame = getattr(coroutine, f"{kind}_frame")
        line = 0 if frame is None else frame.f_lineno
        places.append(_place(getattr(coroutine, f"{kind}_code"), line))
        coroutine = getattr(coroutine, "gi_yieldfrom" if kind == "gi" else f"{kind}_await")
    return " < ".join(reversed(places))


def _place(code: CodeType, line: int) -> str:
    file = code.co_filename.rpartition("site-packages/")[2].rpartition("gemini_backend/")
    return f"{file[1]}{file[2]}:{line} {code.co_qualname}"
