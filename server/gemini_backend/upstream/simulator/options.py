"""How a simulator is set up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Annotated

from msgspec import Meta

from gemini_backend.checked_fields import checked
from gemini_backend.models.catalogue_schema import CatalogueEntry
from gemini_backend.sizes import MIB
from gemini_backend.upstream.simulator.faults import Script

_Count = Annotated[int, Meta(ge=0)]
_Seconds = Annotated[float, Meta(ge=0)]


@dataclass(frozen=True, slots=True, kw_only=True)
@checked
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
    models: tuple[CatalogueEntry, ...] = ()
    engine: str = "echo"
    script: Script = field(default_factory=Script)
    chunk_tokens: Annotated[int, Meta(ge=1)] = 12
    hop_tokens: _Count = 0
    first_byte_delay: _Seconds = 0.0
    chunk_delay: _Seconds = 0.0
    recent_requests: _Count = 200
    recorded_body: _Count = 65_536
    max_body: Annotated[int, Meta(ge=1)] = 128 * MIB
    max_resources: Annotated[int, Meta(ge=1)] = 1_000
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep
    now: Callable[[], float] = time.time
