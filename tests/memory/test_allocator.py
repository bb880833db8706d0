"""glibc's allocator is set up and trimmed where it can be."""

from __future__ import annotations

from typing import Any, cast

from gemini_backend.memory import Allocator


class Library:
    """A C library that notes what is asked of it."""

    def __init__(self, answer: int = 1) -> None:
        """Answer each request like this."""
        self.answer = answer
        self.options: dict[int, int] = {}
        self.trims = 0

    def mallopt(self, option: int, value: int) -> int:
        """Take an option."""
        self.options[option] = value
        return self.answer

    def malloc_trim(self, padding: int) -> int:
        """Give memory back."""
        self.trims += 1 + padding
        return self.answer


def test_large_blocks_are_mapped_by_themselves() -> None:
    """The bounds are fixed, so that glibc does not raise them; two heaps at most."""
    library = Library()
    assert Allocator(cast("Any", library)).set_up()
    assert {-3: 256 * 1024, -1: 1024 * 1024, -8: 2} == library.options
    assert not Allocator(cast("Any", Library(answer=0))).set_up()


def test_trimming_says_whether_anything_went() -> None:
    """One call of the library's."""
    library = Library()
    assert Allocator(cast("Any", library)).trim()
    assert 1 == library.trims
    assert not Allocator(cast("Any", Library(answer=0))).trim()


def test_another_library_is_left_alone() -> None:
    """Without these functions nothing happens."""
    allocator = Allocator(cast("Any", object()))
    assert (False, False) == (allocator.set_up(), allocator.trim())
