"""What it means that the resolver, the kernel or TLS made no connection."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING

from gemini_backend.descriptors import none_left, ran_out
from gemini_backend.upstream.gemini.connection.connect_errors import out_of_descriptors

if TYPE_CHECKING:
    from gemini_backend.errors import ServiceError
    from gemini_backend.upstream.gemini.connection.connect_errors import Destination


def no_connection(to: Destination, error: OSError, *, at_proxy: bool) -> ServiceError:
    """Return the error of our own for one of theirs.

    Args:
        to: What the connection was for.
        error: What was raised.
        at_proxy: Whether it was raised on the way to the proxy, not within a tunnel through it.
    """
    if ran_out(error) or (isinstance(error, socket.gaierror) and none_left()):
        return out_of_descriptors()
    if isinstance(error, socket.gaierror):
        return to.name_unknown()
    if isinstance(error, ssl.SSLCertVerificationError):
        return to.certificate_refused(error, at_proxy=at_proxy)
    if isinstance(error, ssl.SSLError):
        return to.no_tls(at_proxy=at_proxy)
    return to.not_connected(error)
