"""What is said of a connection that could not be made."""

from __future__ import annotations

import errno
import socket
import ssl

import pytest

from gemini_backend import errors
from gemini_backend.upstream.gemini.connection.connect_errors import Destination
from gemini_backend.upstream.gemini.connection.dialing import failures
from gemini_backend.upstream.gemini.connection.proxy import Proxy

PROXY = Proxy.of("http://user:secret@proxy.test:3128")
WHERE = "https://api.test"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ECONNREFUSED, "('10.1.2.3', 443)"), "Connection refused; check {0} and"),
        (OSError(errno.ENETUNREACH, ""), "Network is unreachable; check {0} and"),
        (OSError("several"), "OSError; check {0} and"),
        (socket.gaierror(socket.EAI_NONAME, ""), "name cannot be resolved; check {0} and"),
        (ssl.SSLError(1, "WRONG_VERSION"), "check that the address in {1} is correct"),
        (ssl.SSLCertVerificationError(1, ""), "check {1}, or set upstream.gemini.ca_file"),
    ],
)
@pytest.mark.parametrize("proxy", [None, PROXY])
@pytest.mark.parametrize("at_proxy", [True, False])
def test_what_failed_is_told_with_its_setting(
    error: OSError, words: str, proxy: Proxy | None, at_proxy: bool
) -> None:
    """TCP always leads to the proxy, TLS may lead through it; no address and no secret is told."""
    told = failures.no_connection(Destination(WHERE, proxy), error, at_proxy=at_proxy)
    settings = [
        "upstream.gemini.proxy_url" if proxied else "upstream.gemini.base_url"
        for proxied in (proxy, at_proxy)
    ]
    through = " through the proxy at http://proxy.test:3128" if proxy else ""
    assert isinstance(told, errors.Unreachable)
    assert f"the model API at https://api.test cannot be reached{through}: " in told.message
    assert words.format(*settings) in told.message
    assert [] == [one for one in ("secret", "10.1.2.3") if one in repr(vars(told))]


def test_a_want_of_descriptors_is_this_servers() -> None:
    """Not the model API's."""
    told = failures.no_connection(
        Destination(WHERE, None), OSError(errno.EMFILE, ""), at_proxy=False
    )
    assert (errors.OutOfDescriptors, 1.0) == (type(told), told.retry_after)


def test_a_resolver_without_descriptors_says_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It reports any failure; whether there are any left tells."""
    monkeypatch.setattr(failures, "none_left", lambda: True)
    told = failures.no_connection(Destination(WHERE, None), socket.gaierror(-3, ""), at_proxy=False)
    assert errors.OutOfDescriptors is type(told)
