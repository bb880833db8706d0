"""TLS on a connection that is there already.

An event loop can make both at once. Then nobody but itself has the connection below until TLS is
there, and where its caller is cancelled in the first moment, asyncio's does not close it.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini_backend.upstream.gemini.connection.dialing.tls import Tls

_P = TypeVar("_P", bound=asyncio.Protocol)


async def encrypted(
    transport: asyncio.Transport, host: str, tls: Tls, protocol_factory: Callable[[], _P]
) -> tuple[asyncio.Transport, _P]:
    """Return a connection by TLS to a host, on a plain one, which is closed where that fails.

    Raises:
        SSLError: there is none.
    """
    loop = asyncio.get_running_loop()
    arguments = tls.arguments(host)
    held = Held()
    try:
        inner = None
        if not transport.is_closing():  # on a closed one uvloop would wait for ever
            inner = await loop.start_tls(transport, held, arguments.pop("ssl"), **arguments)
    except BaseException as error:
        transport.abort()
        if isinstance(error, OSError) and not isinstance(error, ssl.SSLError):
            raise hung_up() from error
        raise
    if inner is None:
        transport.abort()
        raise hung_up()
    protocol = protocol_factory()
    inner.set_protocol(protocol)
    protocol.connection_made(inner)
    held.pass_on(protocol)
    return inner, protocol


def hung_up() -> ssl.SSLError:
    """Return the error for an end, or anything else, in place of TLS."""
    return ssl.SSLError(ssl.SSL_ERROR_EOF, "the connection was closed before TLS was there")


class Held(asyncio.Protocol):
    """Keeps what a connection says before its protocol has been told of it."""

    def __init__(self) -> None:
        """Keep nothing yet."""
        self._data: list[bytes] = []
        self._lost: list[Exception | None] = []

    def data_received(self, data: bytes) -> None:
        """Keep it."""
        self._data.append(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Keep it."""
        self._lost.append(exc)

    @property
    def empty(self) -> bool:
        """Whether nothing was said."""
        return not (self._data or self._lost)

    def pass_on(self, protocol: asyncio.Protocol) -> None:
        """Tell the protocol of it."""
        for data in self._data:
            protocol.data_received(data)
        for error in self._lost:
            protocol.connection_lost(error)
