"""Running out of file descriptors is recognized, whatever wraps it."""

from __future__ import annotations

import errno

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey

from gemini_backend.descriptors import none_left, ran_out

KEY = ConnectionKey(
    "api.test", 443, is_ssl=True, ssl=True, proxy=None, proxy_auth=None, proxy_headers_hash=None
)


def caused(error: Exception, cause: Exception) -> Exception:
    """Return an error with a cause."""
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.EMFILE, "Too many open files"), True),
        (OSError(errno.ENFILE, "Too many open files in system"), True),
        (aiohttp.ClientConnectorError(KEY, OSError(errno.EMFILE, "")), True),
        (caused(OSError("Multiple exceptions"), OSError(errno.EMFILE, "")), True),
        (OSError(errno.ECONNREFUSED, ""), False),
        (aiohttp.ClientConnectorError(KEY, OSError(errno.ECONNREFUSED, "")), False),
        (None, False),
    ],
)
def test_the_lack_is_found_in_what_wraps_it(error: Exception | None, expected: bool) -> None:
    """The number of the error decides, of the process's own limit and of the machine's."""
    assert expected == ran_out(error)


def test_an_error_that_is_its_own_cause_has_an_end() -> None:
    """A circle of causes is followed once."""
    first, second = OSError("a"), OSError("b")
    first.__cause__, second.__cause__ = second, first
    assert not ran_out(first)


def test_there_are_descriptors_left() -> None:
    """While a file can be opened there is one."""
    assert not none_left()
