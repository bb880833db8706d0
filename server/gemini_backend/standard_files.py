"""Standard input, output and error, of which any may be closed, or lose its other end."""

from __future__ import annotations

import errno
import os
import sys

_UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF}


def open_standard_files() -> None:
    """Open what was closed by whoever started this: a socket would get its number, and its output.

    What is read or written there is read from and written to nowhere.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # it gets the lowest number that is free: this one
        if getattr(sys, name) is None:
            mode = "w" if number else "r"
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))


def give_up_output() -> None:
    """Send standard output nowhere: what is still buffered could not be written at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def cannot_be_written(error: OSError) -> bool:
    """Tell whether an error may be that of a standard file: a full disk, a terminal that is gone.

    One of a file that has a name is not.
    """
    return error.errno in _UNWRITABLE and error.filename is None
