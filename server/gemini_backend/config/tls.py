"""The certificates of `server.tls_*`, as both ports use them."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING

from gemini_backend.config.certificates import authorities_in, load_pair

if TYPE_CHECKING:
    from gemini_backend.config.sections.server import ServerOptions


def tls_context(server: ServerOptions) -> ssl.SSLContext:
    """Return TLS with the server's certificate; clients must have one where there is a client CA.

    Raises:
        OSError: a file cannot be read, is no certificate, or the key belongs to another one.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        load_pair(context, path_of(server.tls_cert_file), path_of(server.tls_key_file))
        if server.tls_client_ca_file:
            authorities_in(path_of(server.tls_client_ca_file))
            context.load_verify_locations(path_of(server.tls_client_ca_file))
            context.verify_mode = ssl.CERT_REQUIRED
    except OSError as error:  # of SSL as well
        msg = f"cannot use the certificates of server.tls_*: {error}"
        raise OSError(msg) from error
    return context


def path_of(text: str) -> Path:
    """Return the path of a PEM file as it was configured."""
    return Path(text).expanduser()
