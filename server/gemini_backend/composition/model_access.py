"""The way to the model API, and what is known of its models."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gemini_backend.models.catalogue import load
from gemini_backend.models.listing import ModelListing
from gemini_backend.models.registry import Registry
from gemini_backend.policies.attempts.attempt_budget import AttemptBudget
from gemini_backend.policies.attempts.key_pool import KeyPool
from gemini_backend.policies.flow.quota import Quota
from gemini_backend.policies.outcome.pricing import Pricing
from gemini_backend.processing.tokens.counting import TokenCounter
from gemini_backend.processing.tokens.tokenizer import Tokenizer

if TYPE_CHECKING:
    from gemini_backend.composition.foundation import Foundation
    from gemini_backend.models.listing import UpstreamModel
    from gemini_backend.upstream.base import Provider, Upstream

_MODELS_TIMEOUT_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class ModelAccess:
    """The upstream with its quota, keys and attempts; the models with their prices and tokens."""

    provider: Provider
    quota: Quota
    keys: KeyPool
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

    async def aclose(self) -> None:
        """Close every connection, and end the processes that count."""
        await self.tokenizer.aclose()
        await self.listing.aclose()
        await self.upstream.aclose()
        await self.provider.aclose()


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
    keys = KeyPool(
        provider.keys or (),
        clock,
        lambda: provider.key_rest_seconds(store.current),
        quota_wait=quota.wait,
        bus=bus,
    )
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
        attempts=AttemptBudget(lambda: store.current.retry, clock),
        upstream=upstream,
        listing=listing,
        registry=registry,
        pricing=Pricing(registry),
        tokenizer=tokenizer,
        counter=TokenCounter(tokenizer, registry.real_name, registry.generation, clock),
    )
