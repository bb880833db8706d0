"""Ports that others can reach need authentication.

Covers: config/network/listen.py
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gemini_backend.config import ConfigError, read
from gemini_backend.config.checks import check_exposure, check_keys, plain_text_ports
from gemini_backend.config.network.listen import Listen, parse_listen

if TYPE_CHECKING:
    from pathlib import Path

TLS: dict[str, object] = {"server.tls_cert_file": "c", "server.tls_key_file": "k"}
MUTUAL: dict[str, object] = {**TLS, "server.tls_client_ca_file": "a"}
OPEN: dict[str, object] = {"server.listen": "0.0.0.0:1"}
WEB_OPEN: dict[str, object] = {"web.listen": "[::]:1"}


def refused_by(options: dict[str, object]) -> list[str]:
    """Return the paths of the settings that these options are refused for."""
    try:
        check_exposure(read(None, {}, options).config)
    except ConfigError as refused:
        return [problem.path for problem in refused.problems]
    return []


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"server.listen": "localhost:0"},
        {"server.listen": "[::1]:0"},
        {"server.listen": "127.8.9.1:0"},
        OPEN | MUTUAL,
        OPEN | MUTUAL | WEB_OPEN | {"web.tls": True},
        WEB_OPEN | {"web.enabled": False},
    ],
)
def test_safe_listeners_pass(options: dict[str, object]) -> None:
    """Loopback, or mutual TLS, or off: all of them are safe."""
    assert [] == refused_by(options)


@pytest.mark.parametrize(
    ("options", "path"),
    [
        (OPEN, "server.listen"),
        (OPEN | TLS, "server.listen"),
        ({"server.listen": "backend.example:1"}, "server.listen"),
        (WEB_OPEN, "web.listen"),
        (WEB_OPEN | MUTUAL, "web.listen"),
        (WEB_OPEN | TLS | {"web.tls": True}, "web.listen"),
        ({"web.tls": True}, "web.tls"),
    ],
)
def test_open_listeners_are_refused(options: dict[str, object], path: str) -> None:
    """A port that others can reach without authentication is refused with the fix."""
    assert [path] == refused_by(options)


def test_listen_addresses_round_trip() -> None:
    """An address is taken apart and put together again, brackets and all."""
    assert Listen("::1", 5) == parse_listen("x", "[::1]:5")
    assert str(Listen("::1", 5)) == "[::1]:5"
    assert str(parse_listen("x", "h:0")) == "h:0"


PROVIDER = "GEMINI_BACKEND_UPSTREAM__PROVIDER"


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"GEMINI_API_KEY": "k"},
        {PROVIDER: "simulator"},
        {PROVIDER: "gemini", "GEMINI_API_KEY": "k"},
        {"GEMINI_BACKEND_UPSTREAM__GEMINI__BASE_URL": "http://127.0.0.1:1"},
    ],
)
def test_a_server_starts_with_a_key_or_without_having_asked_for_gemini(
    environ: dict[str, str],
) -> None:
    """Nothing is refused where nobody has named Gemini, or a key is there."""
    assert check_keys(read(None, environ)) is None  # type: ignore[func-returns-value]


def test_gemini_by_name_without_a_key_is_refused(tmp_path: Path) -> None:
    """The error says who has named it, and what to set; an address of one's own changes nothing."""
    file = tmp_path / "backend.toml"
    file.write_text('[upstream]\nprovider = "gemini"\n')
    own = {"GEMINI_BACKEND_UPSTREAM__GEMINI__BASE_URL": "http://127.0.0.1:1"}
    for settings, source in (
        (read(file, {}), str(file)),
        (read(None, {PROVIDER: "gemini"}), PROVIDER),
        (read(None, {PROVIDER: "gemini", **own}), PROVIDER),
    ):
        with pytest.raises(ConfigError, match="set GEMINI_API_KEY") as refused:
            check_keys(settings)
        assert source in str(refused.value)


KEYS: dict[str, object] = {"auth.methods": ["api_key"]}


@pytest.mark.parametrize("options", [OPEN | KEYS, WEB_OPEN | KEYS, OPEN | TLS | KEYS])
def test_ports_are_open_to_others_where_callers_are_authenticated(
    options: dict[str, object],
) -> None:
    """By keys on both ports; TLS may end in front."""
    assert [] == refused_by(options)


def test_certificates_are_no_method_without_their_authority() -> None:
    """Nobody could be authenticated."""
    assert ["server.tls_client_ca_file"] == refused_by(TLS | {"auth.methods": ["mtls"]})
    assert ["web.listen"] == refused_by(MUTUAL | WEB_OPEN | {"auth.methods": ["mtls"]})


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (OPEN | WEB_OPEN | KEYS, ["server.listen", "web.listen"]),
        (OPEN | TLS | WEB_OPEN | KEYS, ["web.listen"]),
        (OPEN | TLS | WEB_OPEN | KEYS | {"web.tls": True}, []),
        (KEYS, []),
        (OPEN | MUTUAL, []),
    ],
)
def test_ports_where_keys_can_be_read_on_the_way_are_known(
    options: dict[str, object], expected: list[str]
) -> None:
    """Those that other machines reach without TLS."""
    assert expected == plain_text_ports(read(None, {}, options).config)
