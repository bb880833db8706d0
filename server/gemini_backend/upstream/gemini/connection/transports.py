"""Which way to the model API is taken, by the options."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_backend.telemetry.events import SILENT
from gemini_backend.upstream.gemini.connection.aiohttp_client import AiohttpTransport
from gemini_backend.upstream.gemini.connection.http1 import Http1Transport

if TYPE_CHECKING:
    from gemini_backend.telemetry.events import Publisher
    from gemini_backend.upstream.gemini.connection.exchange import Transport
    from gemini_backend.upstream.gemini.options import GeminiOptions


def transport_of(options: GeminiOptions, bus: Publisher = SILENT) -> Transport:
    """Return the transport that the options name; it opens nothing yet.

    Each connection that is closed for what came on it unasked is published on `bus`.
    """
    made = AiohttpTransport if options.http_client == "aiohttp" else Http1Transport
    return made(options, bus)
