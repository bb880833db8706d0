"""Makes connections on which requests can be written."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from gemini_backend.errors import ConnectTimeout
from gemini_backend.upstream.gemini.connection.dialing.origin import RequestForm
from gemini_backend.upstream.gemini.connection.sockets import trusting

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from gemini_backend.upstream.gemini.connection.dialing.origin import Origin
    from gemini_backend.upstream.gemini.options import GeminiOptions

_P = TypeVar("_P", bound=asyncio.BaseProtocol)


class Dialer:
    """Makes connections to origins, by the options of the upstream."""

    def __init__(self, options: GeminiOptions) -> None:
        """Open nothing yet."""
        self._options = options
        self._context: ssl.SSLContext | None = None

    def form(self, origin: Origin) -> RequestForm:
        """Return how requests to `origin` are written on the connections that `dial` returns."""
        proxy = self._options.proxy
        if proxy is None or origin.tls:
            return RequestForm("", ())
        authorization = proxy.authorization
        headers = (("Proxy-Authorization", authorization),) if authorization else ()
        return RequestForm(str(origin), headers)

    async def dial(
        self,
        origin: Origin,
        protocol_factory: Callable[[], _P],
        seconds: float | None = None,
        others: int = 0,
    ) -> tuple[asyncio.Transport, _P]:
        """Return a connection to `origin`, and the protocol that was made for it.

        Its `connection_made` has been called: requests can be written.

        Args:
            origin: Where it leads.
            protocol_factory: Makes the protocol, once, when all but the protocol is there.
            seconds: How long it may take; by default the setting for it.
            others: How many connections are in use beside this one, for the message.

        Raises:
            Unreachable, ConnectTimeout, MalformedAnswer, OutOfDescriptors: there is none.
        """
        loop = asyncio.get_running_loop()
        context = self._tls() if origin.tls else None
        try:
            async with asyncio.timeout(seconds or self._options.connect_timeout_seconds):
                return await loop.create_connection(
                    protocol_factory, origin.host, origin.port, ssl=context
                )
        except TimeoutError:
            raise ConnectTimeout(f"no connection to {origin}, with {others} others") from None

    def learn(self, transport: asyncio.BaseTransport) -> None:
        """Keep what a connection has taught for the next one: call it after its first answer."""

    async def aclose(self) -> None:
        """End what is under way; connections that were returned stay open."""

    def _tls(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = trusting(self._options.ca_file)
        return self._context
