"""What it means when no answer came at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp

from gemini_backend.errors import ConnectTimeout, MalformedAnswer, ServiceError, Unreachable

if TYPE_CHECKING:
    from yarl import URL


def no_answer(error: Exception, url: URL, timeout: float, in_use: int) -> ServiceError:
    """Return our error for one of aiohttp's; only the address's host is told, never its rest.

    Args:
        error: What aiohttp raised before the head of an answer had come.
        url: Where the request went.
        timeout: Seconds that a connection may take.
        in_use: How many requests are under way beside this one.
    """
    where = f"{url.scheme}://{url.authority}"
    if isinstance(error, TimeoutError):
        return ConnectTimeout(
            f"no connection to {where} within {timeout:g} s, with {in_use} others in use; check "
            "the network, or raise upstream.gemini.connect_timeout_seconds or .max_connections"
        )
    if isinstance(error, aiohttp.ClientResponseError):
        return MalformedAnswer(
            f"{where} does not speak HTTP/1.1 as it should ({error.status}); check "
            "upstream.gemini.base_url"
        )
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        what = "its name is not known; check upstream.gemini.base_url and the network's DNS"
    elif isinstance(error, aiohttp.ClientConnectorCertificateError):
        what = f"its certificate is not accepted ({error.certificate_error}); check the address"
    elif isinstance(error, aiohttp.ClientSSLError):
        what = "no TLS session came about; check that the address is right, https or http"
    elif isinstance(error, aiohttp.ClientConnectorError):
        reason = error.os_error.strerror or type(error.os_error).__name__
        what = f"{reason}; check upstream.gemini.base_url and the network"
    elif isinstance(error, aiohttp.ServerDisconnectedError | ConnectionResetError | OSError):
        what = "it closed the connection without an answer; try again"
    else:
        what = f"the request could not be sent ({type(error).__name__})"
    return Unreachable(f"the model API at {where} cannot be reached: {what}")
