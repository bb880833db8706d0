"""Makes connections on which requests can be written."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from gemini_backend.clock import SystemClock
from gemini_backend.upstream.gemini.connection.connect_errors import Destination
from gemini_backend.upstream.gemini.connection.dialing.encryption import encrypted
from gemini_backend.upstream.gemini.connection.dialing.failures import no_connection
from gemini_backend.upstream.gemini.connection.dialing.hop import Hops
from gemini_backend.upstream.gemini.connection.dialing.names import Names
from gemini_backend.upstream.gemini.connection.dialing.origin import Origin, RequestForm
from gemini_backend.upstream.gemini.connection.dialing.tls import Tls
from gemini_backend.upstream.gemini.connection.dialing.tunnel import NoTunnel, Tunnel
from gemini_backend.upstream.gemini.connection.proxy import refused_by
from gemini_backend.upstream.gemini.connection.sockets import watched

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini_backend.clock import Clock
    from gemini_backend.errors import ServiceError
    from gemini_backend.upstream.gemini.connection.dialing.names import Resolve
    from gemini_backend.upstream.gemini.connection.proxy import Proxy
    from gemini_backend.upstream.gemini.options import GeminiOptions

_P = TypeVar("_P", bound=asyncio.Protocol)


class Dialer:
    """Makes connections to origins, by the options of the upstream.

    It remembers addresses, which of them are of use, and TLS sessions.
    """

    def __init__(
        self, options: GeminiOptions, clock: Clock | None = None, resolve: Resolve | None = None
    ) -> None:
        """Open nothing yet.

        Args:
            options: How the model API is reached.
            clock: Measures the age of what is remembered. Default: the machine's.
            resolve: Looks up names. Default: the resolver of the running loop.

        Raises:
            OSError: `options.ca_file` cannot be read, or holds no certificates.
        """
        self._clock = clock or SystemClock()
        self._limit = options.connect_timeout_seconds
        self._proxy = options.proxy
        self._names = Names(self._clock, resolve)
        self._tls = Tls(options.ca_file, self._clock)
        if Origin.of(options.base_url).tls:
            self._tls.prepare()
        keepalive = options.tcp_keepalive_time_seconds, options.tcp_keepalive_timeout_seconds
        self._hops = Hops(self._names, self._tls, watched(*keepalive))

    def form(self, origin: Origin) -> RequestForm:
        """Return how requests to `origin` are written on the connections that `dial` returns."""
        proxy = self._proxy
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
            protocol_factory: Makes the protocol; what it made for a connection that failed before
                its `connection_made` is dropped.
            seconds: How long it may take; by default the setting for it.
            others: How many connections are in use beside this one, for the message.

        Raises:
            Unreachable, ConnectTimeout, OutOfDescriptors: there is none.
        """
        proxy = self._proxy
        try:
            async with self._clock.timeout(self._limit if seconds is None else seconds):
                if proxy is not None and origin.tls:
                    return await self._through(proxy, origin, protocol_factory)
                return await self._reach(origin, protocol_factory)
        except TimeoutError:
            raise Destination(str(origin), proxy).timed_out(self._limit, others) from None

    def learn(self, transport: asyncio.BaseTransport) -> None:
        """Keep what a connection has taught for the next one: call it after its first answer."""
        self._tls.learn(transport)

    async def aclose(self) -> None:
        """End the lookups under way; connections that were returned stay open."""
        await self._names.aclose()

    async def _reach(
        self, origin: Origin, protocol_factory: Callable[[], _P]
    ) -> tuple[asyncio.Transport, _P]:
        """Return a connection to the proxy, or to the origin where there is none."""
        proxy = self._proxy
        to = origin if proxy is None else Origin.of(proxy.address)
        try:
            return await self._hops.reach(to, protocol_factory)
        except OSError as error:
            destination = Destination(str(origin), proxy)
            raise no_connection(destination, error, at_proxy=proxy is not None) from None

    async def _through(
        self, proxy: Proxy, origin: Origin, protocol_factory: Callable[[], _P]
    ) -> tuple[asyncio.Transport, _P]:
        destination = Destination(str(origin), proxy)
        while True:
            transport, tunnel = await self._reach(origin, Tunnel)
            offered = self._tls.session(origin.host) is not None
            try:
                await tunnel.open(origin.authority, proxy)
                self._tls.learn(transport)
                return await encrypted(transport, origin.host, self._tls, protocol_factory)
            except NoTunnel as error:
                transport.abort()
                raise _without_tunnel(destination, error) from None
            except BaseException as error:
                transport.abort()
                refused = offered and self._tls.forget(origin.host)
                if not isinstance(error, OSError):
                    raise
                if not refused:
                    raise no_connection(destination, error, at_proxy=False) from None


def _without_tunnel(to: Destination, error: NoTunnel) -> ServiceError:
    if error.status and to.proxy is not None:
        return refused_by(to.proxy, error.status)
    return to.unreachable(f"{error}; check the proxy and upstream.gemini.proxy_url")
