"""The certificate that TLS has verified of a request's peer."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

    from gemini_backend.identity.certificate_reading import CertificateReader
    from gemini_backend.identity.credentials import Certificate


def peer_certificate(
    transport: asyncio.BaseTransport | None, reader: CertificateReader
) -> Certificate | None:
    """Return the certificate of the peer; None where it has presented none.

    One that is presented has been verified: a port that does not verify asks for none.

    Raises:
        Unauthenticated: it cannot be read.
    """
    made = None if transport is None else transport.get_extra_info("ssl_object")
    if not isinstance(made, ssl.SSLObject | ssl.SSLSocket):
        return None
    if made.context.verify_mode is ssl.CERT_NONE:
        return None
    encoded = made.getpeercert(binary_form=True)
    return reader.read(encoded) if encoded else None
