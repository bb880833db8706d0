"""The way to a server: channels, retries, streams, and what a failed call means."""

from __future__ import annotations

from gemini_backend_client.connection.api_key import KEY_VARIABLE, PLAIN_TEXT, PlainText
from gemini_backend_client.connection.health import ServingStatus, health_check
from gemini_backend_client.connection.link import AsyncLink, BlockingLink, Link
from gemini_backend_client.connection.retry import RetryPolicy
from gemini_backend_client.connection.settings import (
    DEFAULT,
    DEFAULT_TARGET,
    DEFAULT_TIMEOUT,
    Settings,
    Timeout,
    Tls,
)
from gemini_backend_client.connection.status import error_of
from gemini_backend_client.connection.streams import AsyncMessages, Messages

__all__ = [
    "DEFAULT",
    "DEFAULT_TARGET",
    "DEFAULT_TIMEOUT",
    "KEY_VARIABLE",
    "PLAIN_TEXT",
    "AsyncLink",
    "AsyncMessages",
    "BlockingLink",
    "Link",
    "Messages",
    "PlainText",
    "RetryPolicy",
    "ServingStatus",
    "Settings",
    "Timeout",
    "Tls",
    "error_of",
    "health_check",
]
