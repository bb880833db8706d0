"""The way to Gemini by HTTP/1.1 on asyncio's protocols: heads, bodies, connections, their pool."""

from gemini_backend.upstream.gemini.connection.http1.transport import Http1Transport

__all__ = ["Http1Transport"]
