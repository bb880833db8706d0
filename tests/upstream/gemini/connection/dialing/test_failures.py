"""What is said of a connection that could not be made."""

from __future__ import annotations

import errno
import socket
import ssl

import pytest

from gemini_backend import errors
from gemini_backend.upstream.gemini.connection.dialing import failures
from gemini_backend.upstream.gemini.connection.proxy import Proxy

PROXY = Proxy.of("http://user:secret@proxy.test:3128")
WHERE = "https://api.test"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ECONNREFUSED, "('10.1.2.3', 443)"), "Connection refused; check {} and"),
        (OSError(errno.ENETUNREACH, ""), "Network is unreachable; check {} and"),
        (OSError("several"), "OSError; check {} and"),
        (socket.gaierror(socket.EAI_NONAME, ""), "name cannot be resolved; check {} and"),
        (ssl.SSLError(1, "WRONG_VERSION"), "no TLS session could be established; check that the"),
        (
            ConnectionResetError(),
            "no TLS session could be established; check that the address in {}",
        ),
    ],
)
@pytest.mark.parametrize("at_proxy", [True, False])
async def test_what_failed_is_told_with_its_setting(
    error: OSError, words: str, at_proxy: bool
) -> None:
    """No address of this network, and no secret."""
    told = failures.no_connection(WHERE, PROXY, error, at_proxy=at_proxy)
    setting = "upstream.gemini.proxy_url" if at_proxy else "upstream.gemini.base_url"
    assert isinstance(told, errors.Unreachable)
    assert "https://api.test cannot be reached through the proxy at http://proxy.test:3128: " in (
        told.message
    )
    assert words.format(setting) in told.message
    assert [] == [one for one in ("secret", "10.1.2.3") if one in repr(vars(told))]


async def test_a_want_of_descriptors_is_this_servers() -> None:
    """Not the model API's."""
    told = failures.no_connection(WHERE, None, OSError(errno.EMFILE, ""), at_proxy=False)
    assert (errors.OutOfDescriptors, 1.0) == (type(told), told.retry_after)


async def test_a_resolver_without_descriptors_says_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It reports any failure; whether there are any left tells."""
    monkeypatch.setattr(failures, "none_left", lambda: True)
    told = failures.no_connection(WHERE, None, socket.gaierror(-3, ""), at_proxy=False)
    assert errors.OutOfDescriptors is type(told)


async def test_time_that_ran_out_is_told_with_its_limit() -> None:
    """And with how many others there are."""
    told = failures.timed_out(WHERE, None, 2.5, 7)
    assert isinstance(told, errors.ConnectTimeout)
    assert "no connection to https://api.test within 2.5 s, with 7 other" in told.message
