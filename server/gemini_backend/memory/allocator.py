"""glibc's allocator: kept from holding on to memory that nobody uses any more.

Elsewhere each of these does nothing.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Final

from gemini_backend.sizes import KIB, MIB

if TYPE_CHECKING:
    from collections.abc import Callable

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
_ARENAS: Final = 2
_MAPPED_BYTES: Final = 256 * KIB


class Allocator:
    """What the C library can do to give memory back."""

    def __init__(self, library: ctypes.CDLL | None = None) -> None:
        """Use the process's own C library unless another one is given."""
        library = library or _library()
        self._mallopt: Callable[[int, int], int] | None = getattr(library, "mallopt", None)
        self._trim: Callable[[int], int] | None = getattr(library, "malloc_trim", None)

    def set_up(self) -> bool:
        """Set how it keeps memory; return whether it can be set.

        Blocks of 256 KiB and more are mapped by themselves, so that each goes back when it is
        freed: left alone, glibc raises that bound to 32 MiB as such blocks are freed. The threads
        of gRPC's core share two heaps.
        """
        if self._mallopt is None:
            return False
        return all(
            [
                self._mallopt(_M_MMAP_THRESHOLD, _MAPPED_BYTES),
                self._mallopt(_M_TRIM_THRESHOLD, MIB),
                self._mallopt(_M_ARENA_MAX, _ARENAS),
            ]
        )

    def trim(self) -> bool:
        """Give free pages of all heaps back to the system; return whether any went.

        Takes some milliseconds per 100 MB of heap, without holding the interpreter's lock.
        """
        return self._trim is not None and bool(self._trim(0))


def _library() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(None)
    except (OSError, TypeError):  # TypeError: Windows wants a name
        return None
