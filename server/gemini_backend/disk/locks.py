"""Locks of files and folders: the system's own, which end with their process."""

from __future__ import annotations

import fcntl


def locked(held: int, kind: int = fcntl.LOCK_EX) -> bool:
    """Lock a file or a folder if nobody else has; a file system without locks lets everybody.

    Args:
        held: Its descriptor; closing it ends the lock.
        kind: `fcntl.LOCK_EX` for oneself alone, `fcntl.LOCK_SH` together with others.
    """
    try:
        fcntl.flock(held, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
