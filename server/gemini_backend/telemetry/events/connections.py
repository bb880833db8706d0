"""Connections that were not taken, or closed for what their client did."""

from __future__ import annotations

from typing import Literal

from gemini_backend.telemetry.events.event import Event

Door = Literal["grpc", "web", "probe"]
Refusal = Literal["handshake", "too_many", "too_many_of_peer", "slow", "malformed"]


class ConnectionRefused(Event, frozen=True):
    """Connections were refused.

    Attributes:
        door: The port.
        why: `handshake`: TLS was not finished; `too_many`, `too_many_of_peer`: a limit was reached;
            `slow`: no whole request within its time; `malformed`: it is no HTTP.
        peer: The address; empty where unknown.
        detail: OpenSSL's word for what is wrong; empty where there is none.
        count: How many.
    """

    door: Door
    why: Refusal
    peer: str = ""
    detail: str = ""
    count: int = 1
