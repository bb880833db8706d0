"""The way to Gemini by aiohttp: its pool, its requests and its heads of answers."""

from gemini_backend.upstream.gemini.connection.aiohttp_client.transport import AiohttpTransport

__all__ = ["AiohttpTransport"]
