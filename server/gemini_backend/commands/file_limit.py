"""The limit of open files and sockets: as high as the system allows, with a warning if that is low.

A call takes up to two descriptors, one for its caller's connection and one for that to Gemini.
"""

from __future__ import annotations

import logging
import resource
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gemini_backend.config import Config

_MANY_FILES = 1 << 20
# Ports, files, worker processes, and callers whose connections carry many calls.
_BESIDES = 256

_log = logging.getLogger(__name__)


def raise_file_limit(config: Config) -> None:
    """Allow as many descriptors as the system lets this process have; warn if they may run out."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = hard == resource.RLIM_INFINITY
    limit = max(soft, _MANY_FILES if unlimited else min(hard, _MANY_FILES))
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    except (OSError, ValueError):  # some systems allow less than they say
        limit = soft
    needed = needed_files(config)
    if limit < needed:
        facts = {
            "limit": limit,
            "needed": needed,
            "fix": f"raise the limit (ulimit -n {needed}, LimitNOFILE={needed}), or set "
            "upstream.gemini.max_connections below it",
        }
        _log.warning("file_limit_is_low", extra=facts)


def needed_files(config: Config) -> int:
    """Return how many descriptors the server may need, with one connection per caller.

    Where the number of connections to Gemini has no limit, it is taken to be the default one.
    """
    gemini = config.upstream.gemini
    upstream = gemini.max_connections or type(gemini)().max_connections
    return 2 * upstream + _BESIDES
