"""What must hold before any port is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_backend.config.errors import ConfigError, Problem
from gemini_backend.config.network.listen import parse_listen
from gemini_backend.config.sources import OriginKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gemini_backend.config.loading import Settings
    from gemini_backend.config.tree import Config


def check_keys(settings: Settings, *, stored: bool = False) -> None:
    """Refuse to answer from the simulator where somebody has chosen Gemini.

    Args:
        settings: The configuration as it was read.
        stored: Whether the encrypted store has keys.

    Raises:
        ConfigError: a source names Gemini as the upstream, and there is no key for it.
    """
    config, chosen = settings.config.upstream, settings.given["upstream.provider"]
    if chosen.origin.kind is OriginKind.DEFAULT or config.provider != "gemini":
        return
    gemini = config.gemini
    if not (gemini.api_keys or gemini.api_keys_file or gemini.api_keys_command or stored):
        message = (
            f"upstream.provider is gemini (set by {chosen.origin.detail}) and there is no key; set "
            "GEMINI_API_KEY, upstream.gemini.api_keys, api_keys_file or api_keys_command, store "
            "one with `gemini-backend upstream-keys add`, or set upstream.provider to simulator "
            "for answers that do not come from Gemini"
        )
        raise ConfigError.at(message, "upstream.gemini.api_keys")


def check_exposure(config: Config) -> None:
    """Refuse to be reachable from other machines by whoever likes.

    A port may be open to other machines only where its clients prove who they are.

    Raises:
        ConfigError: a port is open to other machines without authentication.
    """
    problems = tuple(_exposed(config))
    if problems:
        raise ConfigError(*problems)


def _exposed(config: Config) -> Iterator[Problem]:
    methods = config.auth_methods
    grpc = parse_listen("server.listen", config.server.listen)
    if not grpc.loopback and not methods:
        message = (
            f"server.listen {grpc} can be reached from other machines without authentication; set "
            "auth.methods (api_key, jwt, mtls), or listen on 127.0.0.1"
        )
        yield Problem("server.listen", message)
    web = parse_listen("web.listen", config.web.listen)
    by_certificate = config.web.tls and bool(config.server.tls_client_ca_file)
    known = by_certificate or bool({"api_key", "jwt"} & set(methods))
    if config.web.enabled and not web.loopback and not known:
        message = (
            f"web.listen {web} can be reached from other machines without authentication; set "
            "auth.methods to api_key or jwt, or web.tls and server.tls_client_ca_file for mutual "
            "TLS; or listen on 127.0.0.1, or set web.enabled to false"
        )
        yield Problem("web.listen", message)
    if config.web.tls and not config.server.tls_cert_file:
        message = (
            "web.tls is true and there is no certificate; set server.tls_cert_file and "
            "server.tls_key_file"
        )
        yield Problem("web.tls", message)
    if "mtls" in methods and not config.server.tls_client_ca_file:
        message = (
            "auth.methods has mtls and there is no authority of client certificates; set "
            "server.tls_client_ca_file"
        )
        yield Problem("server.tls_client_ca_file", message)


PLAIN_TEXT = "keys and tokens can be read on the way, unless a proxy in front of this port ends TLS"
"""What there is to say of a port of `plain_text_ports`."""


def plain_text_ports(config: Config) -> list[str]:
    """Return the settings of ports at which other machines show keys or tokens without TLS."""
    if not {"api_key", "jwt"} & set(config.auth_methods):
        return []
    web = config.web.enabled and not config.web.tls
    ports = {
        "server.listen": None if config.server.tls_cert_file else config.server.listen,
        "web.listen": config.web.listen if web else None,
    }
    return [name for name, at in ports.items() if at and not parse_listen(name, at).loopback]
