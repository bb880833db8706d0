"""aiohttp's exceptions, as errors of our own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp

from gemini_backend.descriptors import none_left, ran_out
from gemini_backend.upstream.gemini.connection.aiohttp_client.handler import (
    HeadTooLarge,
    UnusableConnection,
)
from gemini_backend.upstream.gemini.connection.connect_errors import (
    Destination,
    out_of_descriptors,
)
from gemini_backend.upstream.gemini.connection.proxy import refused_by
from gemini_backend.upstream.gemini.connection.sockets import path_died

if TYPE_CHECKING:
    from yarl import URL

    from gemini_backend.errors import ServiceError
    from gemini_backend.upstream.gemini.connection.proxy import Proxy


def no_answer(
    error: Exception, url: URL, timeout: float, in_use: int, proxy: Proxy | None
) -> ServiceError:
    """Return our error for one of aiohttp's; only the address's host is told, never its rest.

    Args:
        error: What aiohttp raised before the head of an answer had come.
        url: Where the request went.
        timeout: Seconds that a connection may take.
        in_use: How many requests are under way beside this one.
        proxy: What it went through.
    """
    if ran_out(error) or (isinstance(error, aiohttp.ClientConnectorDNSError) and none_left()):
        return out_of_descriptors()
    if isinstance(error, aiohttp.ClientHttpProxyError) and proxy is not None:
        return refused_by(proxy, error.status)
    to = Destination(f"{url.scheme}://{url.host_port_subcomponent}", proxy)
    if isinstance(error, TimeoutError):
        found = to.timed_out(timeout, in_use)
    elif isinstance(error, HeadTooLarge):
        found = to.head_too_large()
    elif not isinstance(error, aiohttp.ClientResponseError):
        found = _unreachable(error, to)
    elif "content-encoding" in error.message:
        found = to.unknown_encoding()
    else:
        found = to.not_http(error.status)
    return found


def _unreachable(error: Exception, to: Destination) -> ServiceError:
    if isinstance(error, UnusableConnection):
        found = to.not_trusted()
    elif isinstance(error, aiohttp.ClientConnectorDNSError):
        found = to.name_unknown()
    elif isinstance(error, aiohttp.ClientConnectorCertificateError):
        found = to.certificate_refused(error.certificate_error)
    elif isinstance(error, aiohttp.ClientSSLError):
        found = to.no_tls()
    elif isinstance(error, aiohttp.ClientConnectorError):
        found = to.not_connected(error.os_error)
    elif path_died(error):
        found = to.path_died()
    elif isinstance(error, aiohttp.ServerDisconnectedError | OSError):
        found = to.hung_up()
    else:
        found = to.unreachable(f"the request could not be sent ({type(error).__name__})")
    return found
