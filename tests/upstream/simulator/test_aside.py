"""Long work beside the event loop."""

from __future__ import annotations

import threading

import pytest

from gemini_backend.upstream.simulator.aside import LARGE, aside


def here(*_words: str, **_more: str) -> bool:
    """Return whether this is the loop's own thread."""
    return threading.current_thread() is threading.main_thread()


@pytest.mark.parametrize(("size", "expected"), [(LARGE - 1, True), (LARGE, False)])
async def test_only_what_is_large_goes_to_a_thread(size: int, expected: bool) -> None:
    """A thread costs more than a small request takes."""
    assert expected is await aside(size, here, "a", b="c")
