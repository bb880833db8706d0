"""What it means when no answer came at all."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from gemini_backend.errors import (
    AnswerTooLarge,
    ConnectTimeout,
    MalformedAnswer,
    OutOfDescriptors,
    ServiceError,
    Unreachable,
)
from gemini_backend.sizes import KIB

if TYPE_CHECKING:
    from gemini_backend.upstream.gemini.connection.proxy import Proxy

HEAD_LIMIT = 256 * KIB
"""Bytes that the head of an answer may have, informational heads before it included."""

_BASE_URL, _PROXY = "upstream.gemini.base_url", "upstream.gemini.proxy_url"
# the numbers of OpenSSL's verdicts on a certificate
_OF_TIME = {9, 10}
_OF_NAME = {62, 64}
# until calls that run now may have given theirs back
_DESCRIPTORS_SECONDS = 1.0


def out_of_descriptors() -> ServiceError:
    """Return the error for a process that has no descriptor left for a socket."""
    return OutOfDescriptors(
        "this server has no free file descriptor for a connection to the model API; retry, and "
        "raise the limit of the process (ulimit -n, LimitNOFILE)",
        retry_after=_DESCRIPTORS_SECONDS,
    )


class Destination(NamedTuple):
    """Where requests go, as it is told in errors, and what each way to get no answer there is.

    Attributes:
        where: Scheme, host and port; nothing secret.
        proxy: What the way leads through; None for none.
    """

    where: str
    proxy: Proxy | None

    def timed_out(self, seconds: float, others: int) -> ServiceError:
        """Return the error where no connection could be had in time, beside others in use."""
        return ConnectTimeout(
            f"no connection to {self.where}{self._through} within {seconds:g} s, with {others} "
            "other connections in use; check the network, or raise "
            "upstream.gemini.connect_timeout_seconds or .max_connections"
        )

    def head_too_large(self) -> ServiceError:
        """Return the error where the head of an answer is larger than `HEAD_LIMIT`."""
        return AnswerTooLarge(
            f"the headers of an answer from {self.where} have more than {HEAD_LIMIT} bytes; check "
            "the proxies in front of the model API"
        )

    def unknown_encoding(self) -> ServiceError:
        """Return the error where the body is packed in a way that cannot be unpacked."""
        return MalformedAnswer(
            f"{self.where} compresses answers, although this was not requested, with an "
            "unsupported encoding; configure the proxies in front of the model API not to "
            "compress them"
        ).as_lasting()

    def not_http(self, what: object) -> ServiceError:
        """Return the error where something else than HTTP/1.1 came; `what` repeats none of it."""
        return MalformedAnswer(
            f"{self.where} does not speak HTTP/1.1 as it should ({what}); check "
            "upstream.gemini.base_url"
        )

    def name_unknown(self) -> ServiceError:
        """Return the error where the name of the host, or the proxy's, cannot be resolved."""
        whose = "its name" if self.proxy is None else "the proxy's name"
        return self.unreachable(
            f"{whose} cannot be resolved; check {self._setting} and the network's DNS"
        )

    def certificate_refused(self, why: Exception, *, at_proxy: bool = False) -> ServiceError:
        """Return the error where TLS does not accept the certificate, the proxy's or the API's."""
        setting = _PROXY if at_proxy else _BASE_URL
        verdict = getattr(why, "verify_code", 0)
        if verdict in _OF_TIME:
            fix = "renew it there, or set the clock of this machine"
        elif verdict in _OF_NAME:
            fix = f"set {setting} to a name that it was issued for"
        else:
            fix = f"check {setting}, or set upstream.gemini.ca_file to the authority that issued it"
        said = getattr(why, "verify_message", "") or type(why).__name__
        whose = "the proxy's" if at_proxy else "its"
        return self.unreachable(f"{whose} certificate is not accepted ({said}); {fix}")

    def no_tls(self, *, at_proxy: bool = False) -> ServiceError:
        """Return the error where TLS fails in another way, with the proxy or the API."""
        return self.unreachable(
            f"no TLS session could be established; check that the address in "
            f"{_PROXY if at_proxy else _BASE_URL} is correct, https or http"
        )

    def not_connected(self, error: OSError) -> ServiceError:
        """Return the error where the kernel makes no connection."""
        reason = os.strerror(error.errno) if error.errno else type(error).__name__
        return self.unreachable(f"{reason}; check {self._setting} and the network")

    def path_died(self) -> ServiceError:
        """Return the error where the kernel gave up a connection whose other side is silent."""
        return self.unreachable(
            "the connection is dead: no TCP keepalive probe was answered within "
            "upstream.gemini.tcp_keepalive_time_seconds and .tcp_keepalive_timeout_seconds; retry"
        )

    def hung_up(self) -> ServiceError:
        """Return the error where the connection was closed in place of an answer."""
        return self.unreachable("it closed the connection without an answer; retry")

    def not_trusted(self) -> ServiceError:
        """Return the error where a fresh connection was of no use before anything was asked."""
        return self.unreachable("it closed the connection, or sent data, before the request; retry")

    def unreachable(self, what: str) -> ServiceError:
        """Return the error for any other reason, with what to do."""
        return Unreachable(
            f"the model API at {self.where} cannot be reached{self._through}: {what}"
        )

    @property
    def _through(self) -> str:
        return f" through the proxy at {self.proxy.address}" if self.proxy is not None else ""

    @property
    def _setting(self) -> str:
        return _BASE_URL if self.proxy is None else _PROXY
