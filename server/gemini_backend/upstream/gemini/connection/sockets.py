"""Sockets that notice a dead path, and whom TLS trusts."""

from __future__ import annotations

import errno
import socket
import ssl
from contextlib import suppress
from functools import partial
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

from gemini_backend.sizes import KIB

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from aiohttp.connector import AddrInfoType

_READ_BYTES = 64 * KIB
_PROBES = 3
_GIVEN_UP = (errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH)


def watched(time_seconds: float, timeout_seconds: float) -> Callable[[AddrInfoType], socket.socket]:
    """Return what makes sockets whose path is probed.

    A peer that vanishes without a word is noticed by the kernel, which breaks the connection off:
    after `time_seconds` of silence it asks for a sign of life, and gives up when none has come for
    `timeout_seconds` more. What was sent and is not acknowledged breaks it off after both together.

    Args:
        time_seconds: 0 asks for no sign of life and sets no limit.
        timeout_seconds: At least 1.
    """
    return partial(_socket, time_seconds, timeout_seconds)


def read_little(transport: asyncio.BaseTransport) -> None:
    """Let a transport read at most 64 KiB at a time, where it can be told.

    asyncio's own bound is 256 KiB. All that is made of one read is there at once: the payloads, the
    messages, and what they are serialised to; so it is what a caller costs that does not read.
    """
    if hasattr(transport, "max_size"):
        transport.max_size = _READ_BYTES


def path_died(error: BaseException | None) -> bool:
    """Tell whether the kernel broke an open connection off since no sign of life came."""
    return isinstance(error, OSError) and error.errno in _GIVEN_UP


def trusting(ca_file: str) -> ssl.SSLContext:
    """Return a TLS context that trusts the authorities in a file only; the system's where empty.

    Raises:
        OSError: the file cannot be read, or holds no certificates; SSLError is one.
    """
    context = ssl.create_default_context(
        cafile=str(Path(ca_file).expanduser()) if ca_file else None
    )
    context.set_alpn_protocols(["http/1.1"])
    return context


def _socket(time_seconds: float, timeout_seconds: float, info: AddrInfoType) -> socket.socket:
    made = socket.socket(info[0], info[1], info[2])
    if time_seconds <= 0:
        return made
    idle = max(1, ceil(time_seconds))
    interval = max(1, ceil(timeout_seconds / _PROBES))
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # each is there on Linux; elsewhere some have other names, or the system's own times hold
    for name, value in (
        ("TCP_KEEPIDLE", idle),
        ("TCP_KEEPALIVE", idle),
        ("TCP_KEEPINTVL", interval),
        ("TCP_KEEPCNT", _PROBES),
        ("TCP_USER_TIMEOUT", (idle + interval * _PROBES) * 1000),
    ):
        option = getattr(socket, name, None)
        if option is not None:
            with suppress(OSError):  # a socket that is watched less is better than none
                made.setsockopt(socket.IPPROTO_TCP, option, value)
    return made
