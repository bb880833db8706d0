"""How Gemini is reached, as the configuration says."""

from __future__ import annotations

from dataclasses import replace
from ssl import SSLError
from typing import TYPE_CHECKING

from gemini_backend.config import ConfigError
from gemini_backend.upstream.gemini.connection.proxy import Proxy, ProxyAddressError
from gemini_backend.upstream.gemini.connection.sockets import trusting
from gemini_backend.upstream.gemini.options import GeminiOptions

if TYPE_CHECKING:
    from gemini_backend.config import Config

# The simulator takes any key; this one is nobody's.
_SIMULATOR_KEY = "any-key-opens-the-simulator"
_NO_PROXY = "none"


def options_of(config: Config) -> GeminiOptions:
    """Return how Gemini is reached.

    Raises:
        ConfigError: the proxy's address is none, or the file of authorities cannot be used.
    """
    gemini = config.upstream.gemini
    if gemini.ca_file:
        _check_authorities(gemini.ca_file)
    return replace(
        _options(config),
        base_url=gemini.base_url,
        api_version=gemini.api_version,
        api_keys=tuple(key.reveal() for key in gemini.api_keys),
        proxy=_proxy_of(config),
        ca_file=gemini.ca_file,
    )


def simulator_options(config: Config, url: str) -> GeminiOptions:
    """Return how a simulator on this machine is reached: at its address, and no other way out."""
    return replace(_options(config), base_url=url, api_version="v1beta", api_keys=(_SIMULATOR_KEY,))


def live_options(options: GeminiOptions, config: Config) -> GeminiOptions:
    """Return the options with what may change while the server runs."""
    return replace(
        options,
        idle_timeout_seconds=config.execution.idle_timeout_seconds,
        merge_deltas=config.execution.merge_deltas,
    )


def _options(config: Config) -> GeminiOptions:
    gemini = config.upstream.gemini
    options = GeminiOptions(
        http_client=config.upstream.http_client,
        max_connections=gemini.max_connections,
        keepalive_seconds=gemini.keepalive_seconds,
        settle_seconds=gemini.settle_ms / 1000,
        tcp_keepalive_time_seconds=gemini.tcp_keepalive_time_seconds,
        tcp_keepalive_timeout_seconds=gemini.tcp_keepalive_timeout_seconds,
        connect_timeout_seconds=gemini.connect_timeout_seconds,
        max_event_bytes=gemini.max_event_bytes,
        max_body_bytes=gemini.max_body_bytes,
    )
    return live_options(options, config)


def _proxy_of(config: Config) -> Proxy | None:
    """Return the proxy that Gemini is to be reached through; None for none.

    Raises:
        ConfigError: its address is none.
    """
    text = config.upstream.gemini.proxy_url.reveal().strip()
    if not text or text.lower() == _NO_PROXY:
        return None
    try:
        return Proxy.of(text)
    except ProxyAddressError as error:
        msg = (
            "upstream.gemini.proxy_url, or HTTPS_PROXY, HTTP_PROXY or ALL_PROXY if it is not set, "
            f"cannot be used: {error}; write it like http://HOST:PORT, or set "
            f"upstream.gemini.proxy_url to {_NO_PROXY!r} to use no proxy"
        )
        raise ConfigError.at(msg, "upstream.gemini.proxy_url") from None


def _check_authorities(ca_file: str) -> None:
    """Refuse a file of authorities that cannot be used.

    Raises:
        ConfigError: it is so.
    """
    try:
        trusting(ca_file)
    except OSError as error:
        why = "it contains no certificates" if isinstance(error, SSLError) else error.strerror
        msg = (
            f"upstream.gemini.ca_file {ca_file} cannot be used: {why}; name a readable PEM file "
            "with certificates, or leave it empty for the system's"
        )
        raise ConfigError.at(msg, "upstream.gemini.ca_file") from None
