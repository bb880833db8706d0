"""What can be set on the way to Gemini."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from msgspec import Meta

from gemini_backend.checked_fields import checked
from gemini_backend.sizes import MIB
from gemini_backend.upstream.gemini.connection.proxy import Proxy

_Count = Annotated[int, Meta(ge=0)]
_Bytes = Annotated[int, Meta(ge=1)]
_Seconds = Annotated[float, Meta(ge=0)]


@dataclass(frozen=True, slots=True)
@checked
class GeminiOptions:
    """How Gemini is reached, and how much of an answer is taken at once.

    `base_url` and what is said of connections hold for the life of the upstream; the others may be
    changed at any time, `live_options` are by new settings, and count from the next call on.

    Attributes:
        http_client: What speaks HTTP/1.1 to it: this project's own protocols, or aiohttp.
        base_url: Scheme, host and port; no path of the API's own.
        api_version: First step of every path, e.g. "v1beta".
        api_keys: Sent in the header `x-goog-api-key` only, never shown.
        max_connections: Open at once; a call beyond waits for a free one as long as for a new
            connection, then fails as ConnectTimeout. 0 is no limit.
        keepalive_seconds: How long an idle connection is kept for the next call.
        settle_seconds: How long a connection stays in use after an answer: what arrives meanwhile
            belongs to nobody and closes it. 0 hands it on at once.
        tcp_keepalive_time_seconds: Silence after which the other side is asked for a sign of life.
            0 never asks.
        tcp_keepalive_timeout_seconds: Time that it has to give one; then the connection breaks off.
        proxy: What all connections go through; None for none.
        ca_file: Authorities to trust in place of the system's, PEM; empty for the system's.
        connect_timeout_seconds: For name, TCP and TLS together; then ConnectTimeout.
        max_event_bytes: Largest event of a stream; a larger one ends it as AnswerTooLarge.
        max_body_bytes: Largest body that is no stream, unpacked; beyond it AnswerTooLarge.
        idle_timeout_seconds: Longest silence within a body that is no stream, for requests that
            name none; then IdleTimeout. 0 is no limit.
        merge_deltas: Whether pieces of plain text that arrive in one read become one delta.
    """

    http_client: Literal["asyncio", "aiohttp"] = "asyncio"
    base_url: str = "https://generativelanguage.googleapis.com"
    api_version: str = "v1beta"
    api_keys: tuple[str, ...] = field(default=(), repr=False)
    max_connections: _Count = 4096
    keepalive_seconds: _Seconds = 60.0
    settle_seconds: _Seconds = 0.1
    tcp_keepalive_time_seconds: _Seconds = 30.0
    tcp_keepalive_timeout_seconds: _Seconds = 30.0
    proxy: Proxy | None = None
    ca_file: str = ""
    connect_timeout_seconds: Annotated[float, Meta(gt=0)] = 5.0
    max_event_bytes: _Bytes = 64 * MIB
    max_body_bytes: _Bytes = 64 * MIB
    idle_timeout_seconds: _Seconds = 60.0
    merge_deltas: bool = True
