"""How Gemini is reached, as the configuration says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trustme

from gemini_backend.config import ConfigError
from gemini_backend.upstream.gemini.connection.proxy import Proxy
from gemini_backend.upstream.gemini.settings import options_of
from tests.support.configs import load

if TYPE_CHECKING:
    from pathlib import Path

PREFIX = "GEMINI_BACKEND_UPSTREAM__GEMINI__"


def test_the_way_out_is_as_configured(tmp_path: Path) -> None:
    """Proxy, authorities, and the times of connections."""
    authorities = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(authorities)
    settings = {
        "PROXY_URL": "http://proxy.test:3128",
        "CA_FILE": str(authorities),
        "SETTLE_MS": "20",
        "TCP_KEEPALIVE_TIME_SECONDS": "5",
        "TCP_KEEPALIVE_TIMEOUT_SECONDS": "6",
    }
    environ = {PREFIX + name: value for name, value in settings.items()}
    options = options_of(load(None, environ))
    assert (Proxy("http://proxy.test:3128"), str(authorities), 0.02, 5, 6) == (
        options.proxy,
        options.ca_file,
        options.settle_seconds,
        options.tcp_keepalive_time_seconds,
        options.tcp_keepalive_timeout_seconds,
    )


@pytest.mark.parametrize("text", ["", "none", "None"])
def test_there_need_be_no_proxy(text: str) -> None:
    """None is the word for none."""
    assert None is options_of(load(None, {PREFIX + "PROXY_URL": text})).proxy


@pytest.mark.parametrize("name", [PREFIX + "PROXY_URL", "HTTPS_PROXY", "ALL_PROXY"])
def test_a_proxy_that_cannot_be_used_is_refused_with_the_fix(name: str) -> None:
    """Wherever it is named, and without its password."""
    with pytest.raises(ConfigError, match=r"set upstream\.gemini\.proxy_url to 'none'") as raised:
        options_of(load(None, {name: "socks5://user:secret@proxy.test:1080"}))
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "No such file or directory"),
        ("", "it contains no certificates"),
        ("no PEM", "it contains no certificates"),
    ],
)
def test_a_file_of_authorities_that_cannot_be_used_is_refused(
    tmp_path: Path, content: str | None, why: str
) -> None:
    """With its path and what is wrong with it."""
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigError, match=why) as raised:
        options_of(load(None, {PREFIX + "CA_FILE": str(file)}))
    assert str(file) in str(raised.value)
