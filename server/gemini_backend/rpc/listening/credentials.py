"""TLS of the gRPC port: each handshake uses the certificates of that moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini_backend.tls import LiveCertificates, Material


def credentials_of(
    live: LiveCertificates, begins: Callable[[], None] = lambda: None
) -> grpc.ServerCredentials:
    """Return credentials that follow `live`.

    Args:
        live: Has the certificates. gRPC's threads ask at each handshake, so nothing is read then.
        begins: Is called when a handshake begins, in a thread of gRPC's.
    """
    given = live.current

    def fetch() -> Any:  # None for no change, of which the stubs know nothing
        nonlocal given
        begins()
        latest = live.current
        if latest is given:
            return None
        given = latest
        return _configuration(latest)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(given), fetch, require_client_authentication=given.ca_pem is not None
    )


def _configuration(material: Material) -> grpc.ServerCertificateConfiguration:
    pairs = [(material.key_pem, material.cert_pem)]
    return grpc.ssl_server_certificate_configuration(pairs, root_certificates=material.ca_pem)
