"""How a simulator is set up."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gemini_backend.sizes import MIB
from gemini_backend.upstream.simulator.faults import Script

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gemini_backend.models.catalogue_schema import Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatorOptions:
    """How a simulator is set up.

    Attributes:
        api_keys: The keys that it accepts; none means any key that is not empty.
        models: Models beside those of the catalogue, or in their place.
        engine: What writes the text: ``echo`` or ``smollm2``.
        script: Faults and quotas from the start.
        chunk_tokens: Tokens of text in one chunk of a stream, at least 1.
        hop_tokens: Tokens of one hop of a long answer; 0 for the model's own limit.
        first_byte_delay: Seconds before every answer.
        chunk_delay: Seconds between two chunks of a stream.
        recent_requests: How many requests ``/_simulator/requests`` remembers; older ones are
            forgotten.
        recorded_body: Bytes of a body that it remembers; the rest is left out.
        max_body: Most bytes of a request; above it the answer is 400.
        max_resources: Most files, uploads and caches each; the oldest is dropped for a new one.
        pause: How to wait, in seconds.
        now: Seconds since the epoch.
    """

    api_keys: tuple[str, ...] = ()
    models: tuple[Entry, ...] = ()
    engine: str = "echo"
    script: Script = field(default_factory=Script)
    chunk_tokens: int = 12
    hop_tokens: int = 0
    first_byte_delay: float = 0.0
    chunk_delay: float = 0.0
    recent_requests: int = 200
    recorded_body: int = 65_536
    max_body: int = 128 * MIB
    max_resources: int = 1_000
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep
    now: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        """Refuses what cannot be."""
        if self.chunk_tokens < 1:
            message = "chunk_tokens must be at least 1"
            raise ValueError(message)
        if self.hop_tokens < 0:
            message = "hop_tokens must not be negative"
            raise ValueError(message)
        if min(self.first_byte_delay, self.chunk_delay) < 0:
            message = "first_byte_delay and chunk_delay must not be negative"
            raise ValueError(message)
