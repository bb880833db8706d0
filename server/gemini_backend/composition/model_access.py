"""The way to the model API, and what is known of its models."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gemini_backend.config.sections.upstream import GeminiOptions
from gemini_backend.keyring.errors import KeyringError
from gemini_backend.models.catalogue import load
from gemini_backend.models.listing import ModelListing
from gemini_backend.models.registry import Registry
from gemini_backend.policies.attempts.attempt_budget import AttemptBudget
from gemini_backend.policies.attempts.key_pool import KeyPool
from gemini_backend.policies.flow.quota import Quota
from gemini_backend.policies.outcome.pricing import Pricing
from gemini_backend.processing.tokens.counting import TokenCounter
from gemini_backend.processing.tokens.tokenizer import Tokenizer
from gemini_backend.upstream.keys import KeySet, KeySources, KeyStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini_backend.composition.foundation import Foundation
    from gemini_backend.keyring import LazyKeyring
    from gemini_backend.models.listing import UpstreamModel
    from gemini_backend.telemetry.health.health_report import Component
    from gemini_backend.upstream.base import Provider, Upstream

_MODELS_TIMEOUT_SECONDS = 20.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ModelAccess:
    """The upstream with its quota, keys and attempts; the models with their prices and tokens."""

    provider: Provider
    quota: Quota
    keys: KeyPool
    sources: KeySources
    keyring: LazyKeyring
    attempts: AttemptBudget
    upstream: Upstream
    listing: ModelListing
    registry: Registry
    pricing: Pricing
    tokenizer: Tokenizer
    counter: TokenCounter

    def connections(self) -> tuple[int, int]:
        """Return how many connections carry a request, and how many there may be."""
        return self.upstream.connections(), self.provider.facts.max_connections

    def key_count(self) -> int:
        """Return how many keys are in use; 0 for an upstream that has none of its own."""
        return len(self.sources.keys) if self.provider.follows_sources else 0

    def components(self) -> list[Callable[[], Component]]:
        """Return what health reports of the sources of keys, if the upstream takes keys of them."""
        return [self.sources.component] if self.provider.follows_sources else []

    async def load_keys(self) -> None:
        """Read the sources of keys, if the upstream takes keys of them.

        Raises:
            ConfigError: there is no key, because of a source that cannot be read.
        """
        if self.provider.follows_sources:
            await self.sources.load()

    async def read_keys_again(self) -> None:
        """Read the master keys, and the sources of keys; what cannot be read stays as it was."""
        try:
            await asyncio.to_thread(self.keyring.reopen)
        except KeyringError as error:
            _log.error("keyring_not_reopened", extra={"reason": error.message})
        if self.provider.follows_sources:
            await self.sources.refresh()

    async def follow_keys(self) -> None:
        """Follow the sources of keys until cancelled."""
        if self.provider.follows_sources:
            await self.sources.run()

    async def aclose(self) -> None:
        """Close every connection, and end the processes that count."""
        await self.tokenizer.aclose()
        await self.listing.aclose()
        await self.upstream.aclose()
        self.sources.close()
        await self.provider.aclose()


def key_sources(foundation: Foundation, provider: Provider) -> KeySources:
    """Return the sources of keys; for an upstream that takes none of them only the store."""
    store = KeyStore(foundation.keyring)
    clock, bus = foundation.clock, foundation.bus
    if provider.keys is None or not provider.follows_sources:
        return KeySources(GeminiOptions(), KeySet(), store, clock, bus)
    return KeySources(foundation.config.upstream.gemini, provider.keys, store, clock, bus)


def model_access(foundation: Foundation, provider: Provider) -> ModelAccess:
    """Return the way to the upstream that `provider` makes; nothing is opened until it is used.

    Raises:
        ConfigError: the catalogue of models cannot be read.
    """
    store, clock = foundation.store, foundation.clock
    bus = foundation.bus

    def now() -> datetime:
        return datetime.fromtimestamp(foundation.wall(), UTC)

    quota = Quota(lambda: store.current.quota, clock, lambda: provider.until_quota_reset(now()))
    sources = key_sources(foundation, provider)
    keys = KeyPool(
        provider.keys.keys if provider.keys is not None else (),
        clock,
        lambda: provider.key_rest_seconds(store.current),
        quota_wait=quota.wait,
        bus=bus,
    )
    if provider.keys is not None:
        provider.keys.subscribe(keys.replace)
    upstream = provider.connect(clock, keys, bus)

    async def read_models() -> list[UpstreamModel]:
        return await upstream.models(_MODELS_TIMEOUT_SECONDS)

    listing = ModelListing(read_models, clock, provider.models_refresh_seconds)
    catalogue = load(store.current.models.catalogue_file)
    registry = Registry(catalogue, listing, foundation.wall)
    tokenizer = Tokenizer(lambda: store.current.tokens, clock)
    return ModelAccess(
        provider=provider,
        quota=quota,
        keys=keys,
        sources=sources,
        keyring=foundation.keyring,
        attempts=AttemptBudget(lambda: store.current.retry, clock),
        upstream=upstream,
        listing=listing,
        registry=registry,
        pricing=Pricing(registry),
        tokenizer=tokenizer,
        counter=TokenCounter(tokenizer, registry.real_name, registry.generation, clock),
    )
