"""Whether this process, or its machine, has run out of file descriptors."""

from __future__ import annotations

import errno
import os

_NONE_LEFT = {errno.EMFILE, errno.ENFILE}


def ran_out(error: BaseException | None) -> bool:
    """Tell whether an error, or what it was raised from, is for want of a descriptor."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, OSError) and error.errno in _NONE_LEFT:
            return True
        error = getattr(error, "os_error", None) or error.__cause__ or error.__context__
    return False


def none_left() -> bool:
    """Tell whether there is none at this moment: for failures that do not say why they failed."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        return error.errno in _NONE_LEFT
    return False
