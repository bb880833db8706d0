"""Which HTTP client the suites run over, and what a test sees of its connections.

The suites run over the default one; with GEMINI_BACKEND_UPSTREAM__HTTP_CLIENT=aiohttp they run over
the other one, real servers included.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from gemini_backend.upstream.gemini.connection.aiohttp_client import AiohttpTransport

if TYPE_CHECKING:
    import asyncio

    from gemini_backend.upstream.gemini.client import GeminiUpstream

HTTP_CLIENT = os.environ.get("GEMINI_BACKEND_UPSTREAM__HTTP_CLIENT", "")
"""The client that was asked for; empty for the default one."""


def open_idle(upstream: GeminiUpstream) -> list[asyncio.Transport]:
    """Return the connections that wait in the pool and are open."""
    pool = _pool(upstream)
    if isinstance(upstream._transport, AiohttpTransport):
        handlers = [handler for conns in pool._conns.values() for handler, _ in conns]
        return [handler.transport for handler in handlers if handler.is_connected()]
    return [connection.transport for connection in pool.idle()]


def in_use(upstream: GeminiUpstream) -> list[asyncio.Transport]:
    """Return the connections that are open, and not idle."""
    pool = _pool(upstream)
    if isinstance(upstream._transport, AiohttpTransport):
        return [handler.transport for handler in pool._acquired]
    idle = pool.idle()
    return [connection.transport for connection in pool.open if connection not in idle]


def waiting_bytes(upstream: GeminiUpstream) -> int:
    """Return how many bytes of bodies wait to be read."""
    pool = _pool(upstream)
    if isinstance(upstream._transport, AiohttpTransport):
        taps: list[Any] = [handler._tap for handler in pool._acquired]
    else:
        taps = [connection._tap for connection in pool.open]
    return sum(len(piece) for tap in taps if tap is not None for piece in tap._pieces)


def _pool(upstream: GeminiUpstream) -> Any:
    transport: Any = upstream._transport
    if isinstance(transport, AiohttpTransport):
        assert transport._session is not None
        return transport._session.connector
    assert transport._pool is not None
    return transport._pool
