"""What it means when no answer came at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp

from gemini_backend.descriptors import none_left, ran_out
from gemini_backend.errors import (
    AnswerTooLarge,
    ConnectTimeout,
    MalformedAnswer,
    OutOfDescriptors,
    ServiceError,
    Unreachable,
)
from gemini_backend.upstream.gemini.connection.handler import (
    HEAD_LIMIT,
    HeadTooLarge,
    UnusableConnection,
)
from gemini_backend.upstream.gemini.connection.proxy import refused_by
from gemini_backend.upstream.gemini.connection.sockets import path_died

if TYPE_CHECKING:
    from yarl import URL

    from gemini_backend.upstream.gemini.connection.proxy import Proxy

# until calls that run now may have given theirs back
_DESCRIPTORS_SECONDS = 1.0


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
        return _out_of_descriptors()
    return _by_kind(error, f"{url.scheme}://{url.host_port_subcomponent}", timeout, in_use, proxy)


def _out_of_descriptors() -> ServiceError:
    return OutOfDescriptors(
        "this server has no free file descriptor for a connection to the model API; retry, and "
        "raise the limit of the process (ulimit -n, LimitNOFILE)",
        retry_after=_DESCRIPTORS_SECONDS,
    )


def _by_kind(
    error: Exception, where: str, timeout: float, in_use: int, proxy: Proxy | None
) -> ServiceError:
    if isinstance(error, aiohttp.ClientHttpProxyError) and proxy is not None:
        return refused_by(proxy, error.status)
    through = f" through the proxy at {proxy.address}" if proxy is not None else ""
    if isinstance(error, TimeoutError):
        return ConnectTimeout(
            f"no connection to {where}{through} within {timeout:g} s, with {in_use} other "
            "connections in use; check the network, or raise "
            "upstream.gemini.connect_timeout_seconds or .max_connections"
        )
    if isinstance(error, HeadTooLarge):
        return AnswerTooLarge(
            f"the headers of an answer from {where} have more than {HEAD_LIMIT} bytes; check the "
            "proxies in front of the model API"
        )
    if isinstance(error, aiohttp.ClientResponseError) and "content-encoding" in error.message:
        return MalformedAnswer(
            f"{where} compresses answers, although this was not requested, with an unsupported "
            "encoding; configure the proxies in front of the model API not to compress them"
        ).as_lasting()
    if isinstance(error, aiohttp.ClientResponseError):
        return MalformedAnswer(
            f"{where} does not speak HTTP/1.1 as it should ({error.status}); check "
            "upstream.gemini.base_url"
        )
    what = _unreachable(error, proxy)
    return Unreachable(f"the model API at {where} cannot be reached{through}: {what}")


def _unreachable(error: Exception, proxy: Proxy | None) -> str:
    first = "upstream.gemini.base_url" if proxy is None else "upstream.gemini.proxy_url"
    if isinstance(error, UnusableConnection):
        what = "it closed the connection, or sent data, before the request; retry"
    elif isinstance(error, aiohttp.ClientConnectorDNSError):
        whose = "its name" if proxy is None else "the proxy's name"
        what = f"{whose} cannot be resolved; check {first} and the network's DNS"
    elif isinstance(error, aiohttp.ClientConnectorCertificateError):
        what = (
            f"its certificate is not accepted ({error.certificate_error}); check the address, or "
            "set upstream.gemini.ca_file to the authority that issued it"
        )
    elif isinstance(error, aiohttp.ClientSSLError):
        what = (
            "no TLS session could be established; check that the address is correct, https or http"
        )
    elif isinstance(error, aiohttp.ClientConnectorError):
        reason = error.os_error.strerror or type(error.os_error).__name__
        what = f"{reason}; check {first} and the network"
    elif path_died(error):
        what = (
            "the connection is dead: no TCP keepalive probe was answered within "
            "upstream.gemini.tcp_keepalive_time_seconds and .tcp_keepalive_timeout_seconds; retry"
        )
    elif isinstance(error, aiohttp.ServerDisconnectedError | OSError):
        what = "it closed the connection without an answer; retry"
    else:
        what = f"the request could not be sent ({type(error).__name__})"
    return what
