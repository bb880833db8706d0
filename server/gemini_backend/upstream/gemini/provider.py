"""Gemini as a provider: its facts, its keys, its hours, and its client."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gemini_backend.upstream.base import Provider, UpstreamFacts
from gemini_backend.upstream.gemini.client import GeminiUpstream
from gemini_backend.upstream.gemini.failure.quota_refusal import until_midnight_pacific
from gemini_backend.upstream.gemini.keys import known_keys
from gemini_backend.upstream.gemini.settings import options_of, simulator_options
from gemini_backend.upstream.keys import KeySet

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gemini_backend.clock import Clock
    from gemini_backend.config import Config
    from gemini_backend.telemetry.events import Publisher
    from gemini_backend.upstream.base import UpstreamKeys
    from gemini_backend.upstream.gemini.options import GeminiOptions


def gemini(config: Config) -> Provider:
    """Return Gemini.

    Raises:
        ConfigError: it cannot be reached as configured.
    """
    options = options_of(config)
    facts = UpstreamFacts(
        "gemini",
        options.base_url,
        options.api_version,
        options.max_connections,
        "" if options.proxy is None else options.proxy.address,
    )
    keys = KeySet(known_keys(options.api_keys, config.upstream.gemini.key_projects))
    return replace(_provider(config, facts, options, keys), follows_sources=True)


def simulated(config: Config, url: str, aclose: Callable[[], Awaitable[None]]) -> Provider:
    """Return Gemini's client in front of a simulator at an address; `aclose` ends that one."""
    options = simulator_options(config, url)
    facts = UpstreamFacts(
        "simulator", url, options.api_version, max_connections=options.max_connections
    )
    keys = KeySet(known_keys(options.api_keys))
    return replace(_provider(config, facts, options, keys), aclose=aclose)


def _provider(
    config: Config, facts: UpstreamFacts, options: GeminiOptions, keys: KeySet
) -> Provider:
    def connect(clock: Clock, pool: UpstreamKeys, bus: Publisher, /) -> GeminiUpstream:
        return GeminiUpstream(options, clock, key_pool=pool, keys=keys, bus=bus)

    return Provider(
        facts,
        connect,
        keys=keys,
        key_rest_seconds=lambda current: current.upstream.gemini.invalid_key_seconds,
        models_refresh_seconds=config.upstream.gemini.models_refresh_seconds,
        until_quota_reset=until_midnight_pacific,
    )
