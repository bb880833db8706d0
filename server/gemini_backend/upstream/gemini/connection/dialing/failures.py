"""What it means that a connection could not be made, and what helps."""

from __future__ import annotations

import os
import socket
import ssl
from typing import TYPE_CHECKING

from gemini_backend.descriptors import none_left, ran_out
from gemini_backend.errors import ConnectTimeout, OutOfDescriptors, ServiceError, Unreachable

if TYPE_CHECKING:
    from gemini_backend.upstream.gemini.connection.proxy import Proxy

# until calls that run now may have given theirs back
_DESCRIPTORS_SECONDS = 1.0
# the numbers of OpenSSL's verdicts on a certificate
_OF_TIME = {9, 10}
_OF_NAME = {62, 64}


def out_of_descriptors() -> ServiceError:
    """Return the error for a process that can open no more sockets."""
    return OutOfDescriptors(
        "this server has no free file descriptor for a connection to the model API; retry, and "
        "raise the limit of the process (ulimit -n, LimitNOFILE)",
        retry_after=_DESCRIPTORS_SECONDS,
    )


def timed_out(where: object, proxy: Proxy | None, seconds: float, others: int) -> ServiceError:
    """Return the error for a connection that was not there in time.

    Args:
        where: Scheme, host and port that it was for.
        proxy: What it went through.
        seconds: How long it may take.
        others: How many connections are in use beside it.
    """
    return ConnectTimeout(
        f"no connection to {where}{_through(proxy)} within {seconds:g} s, with {others} other "
        "connections in use; check the network, or raise "
        "upstream.gemini.connect_timeout_seconds or .max_connections"
    )


def unreachable(where: object, proxy: Proxy | None, what: str) -> ServiceError:
    """Return the error for the model API where `what` kept the connection from being made."""
    return Unreachable(f"the model API at {where} cannot be reached{_through(proxy)}: {what}")


def no_connection(
    where: object, proxy: Proxy | None, error: OSError, *, at_proxy: bool
) -> ServiceError:
    """Return the error for one that the resolver, the kernel or TLS raised.

    Args:
        where: Scheme, host and port that the connection was for.
        proxy: What it went through.
        error: What was raised.
        at_proxy: Whether it was raised on the way to the proxy.
    """
    if ran_out(error) or (isinstance(error, socket.gaierror) and none_left()):
        return out_of_descriptors()
    return unreachable(where, proxy, _reason(error, at_proxy=at_proxy))


def _through(proxy: Proxy | None) -> str:
    return f" through the proxy at {proxy.address}" if proxy is not None else ""


def _reason(error: OSError, *, at_proxy: bool) -> str:
    setting = "upstream.gemini.proxy_url" if at_proxy else "upstream.gemini.base_url"
    whose = "the proxy's" if at_proxy else "its"
    if isinstance(error, socket.gaierror):
        return f"{whose} name cannot be resolved; check {setting} and the network's DNS"
    if isinstance(error, ssl.SSLCertVerificationError):
        fix = _certificate_fix(error.verify_code, setting)
        return f"{whose} certificate is not accepted ({error.verify_message}); {fix}"
    if isinstance(error, ssl.SSLError) or (isinstance(error, ConnectionError) and not error.errno):
        return (
            "no TLS session could be established; check that the address in "
            f"{setting} is correct, https or http"
        )
    number = error.errno
    words = os.strerror(number) if number else type(error).__name__
    return f"{words}; check {setting} and the network"


def _certificate_fix(verdict: int, setting: str) -> str:
    if verdict in _OF_TIME:
        return "renew it there, or set the clock of this machine"
    if verdict in _OF_NAME:
        return f"set {setting} to a name that it was issued for"
    return "check the address, or set upstream.gemini.ca_file to the authority that issued it"
