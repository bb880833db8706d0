"""Which proxy the usual variables name."""

from __future__ import annotations

import pytest

from gemini_backend.config import read
from gemini_backend.config.network.proxies import proxy_for

P = "http://proxy.test:3128"
Q = "http://other.test:3128"
API = "https://api.test"


@pytest.mark.parametrize(
    ("address", "environ", "expected"),
    [
        (API, {}, None),
        (API, {"HTTPS_PROXY": P}, (P, "HTTPS_PROXY")),
        (API, {"https_proxy": P}, (P, "https_proxy")),
        (API, {"https_proxy": P, "HTTPS_PROXY": Q}, (P, "https_proxy")),
        (API, {"HTTP_PROXY": P}, None),
        ("http://api.test", {"HTTP_PROXY": P, "HTTPS_PROXY": Q}, (P, "HTTP_PROXY")),
        (API, {"ALL_PROXY": P}, (P, "ALL_PROXY")),
        (API, {"all_proxy": P, "HTTPS_PROXY": Q}, (Q, "HTTPS_PROXY")),
        (API, {"https_proxy": "", "HTTPS_PROXY": Q}, None),
        (API, {"https_proxy": "", "ALL_PROXY": P}, (P, "ALL_PROXY")),
        (API, {"HTTPS_PROXY": "  "}, None),
        ("http://localhost:1", {"HTTP_PROXY": P}, (P, "HTTP_PROXY")),
        ("http://[bad", {"HTTP_PROXY": P}, None),
    ],
)
def test_the_variable_of_the_scheme_wins(
    address: str, environ: dict[str, str], expected: tuple[str, str] | None
) -> None:
    """Then the one for all; small letters before capitals, an empty one names none."""
    assert expected == proxy_for(address, environ)


@pytest.mark.parametrize(
    ("listed", "address", "direct"),
    [
        ("api.test", "https://api.test", True),
        ("API.test", "https://api.TEST", True),
        ("api.test", "https://a.api.test", True),
        (".api.test", "https://a.api.test", True),
        (".api.test", "https://api.test", True),
        ("*.api.test", "https://a.api.test", True),
        ("api.test.", "https://api.test", True),
        ("api.test", "https://api.test.", True),
        ("pi.test", "https://api.test", False),
        ("a.api.test", "https://api.test", False),
        ("other.test, api.test", "https://api.test", True),
        ("other.test api.test", "https://api.test", True),
        ("*", "https://api.test", True),
        ("", "https://api.test", False),
        (",", "https://api.test", False),
        (".", "https://api.test", False),
        ("api.test:443", "https://api.test", True),
        ("api.test:80", "https://api.test", False),
        ("api.test:8443", "https://api.test:8443", True),
        ("127.0.0.1", "https://127.0.0.1", True),
        ("10.0.0.0/8", "https://10.1.2.3", True),
        ("10.0.0.0/8", "https://11.1.2.3", False),
        ("10.0.0.0/8", "https://api.test", False),
        ("10.1.2.3:8443", "https://10.1.2.3:8443", True),
        ("::1", "https://[::1]", True),
        ("[::1]", "https://[::1]", True),
        ("[::1]:8443", "https://[::1]:8443", True),
        ("[::1]:8443", "https://[::1]", False),
        ("fd00::/8", "https://[fd12::1]", True),
        ("localhost", "https://127.0.0.1", False),
    ],
)
def test_no_proxy_lists_what_is_reached_directly(
    listed: str, address: str, *, direct: bool
) -> None:
    """Hosts with their subdomains, ports, addresses, ranges, or everything."""
    for name in ("NO_PROXY", "no_proxy"):
        found = proxy_for(address, {"HTTPS_PROXY": P, name: listed})
        assert (None if direct else (P, "HTTPS_PROXY")) == found


def test_small_letters_win_for_no_proxy_too() -> None:
    """Even if they list nothing."""
    environ = {"HTTPS_PROXY": P, "NO_PROXY": "*", "no_proxy": ""}
    assert (P, "HTTPS_PROXY") == proxy_for(API, environ)


VARIABLE = "GEMINI_BACKEND_UPSTREAM__GEMINI__PROXY_URL"


def test_the_environments_proxy_is_the_settings_default() -> None:
    """It fits the address that is configured, and says where it comes from."""
    settings = read(None, {"HTTPS_PROXY": P})
    assert P == settings.config.upstream.gemini.proxy_url.reveal()
    assert "HTTPS_PROXY" == settings.given["upstream.gemini.proxy_url"].origin.detail
    http = {"GEMINI_BACKEND_UPSTREAM__GEMINI__BASE_URL": "http://api.test", "HTTPS_PROXY": P}
    assert not read(None, http).config.upstream.gemini.proxy_url


@pytest.mark.parametrize("given", ["none", Q])
def test_the_setting_outranks_the_environment(given: str) -> None:
    """Whatever NO_PROXY says: it was meant for this one address."""
    environ = {"HTTPS_PROXY": P, "NO_PROXY": "*", VARIABLE: given}
    assert given == read(None, environ).config.upstream.gemini.proxy_url.reveal()
