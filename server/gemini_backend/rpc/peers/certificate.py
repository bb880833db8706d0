"""The certificate that gRPC has verified of a call's peer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gemini_backend.identity.certificate_reading import CertificateReader
    from gemini_backend.identity.credentials import Certificate

_PEM = "x509_pem_cert"


class Authenticated(Protocol):
    """The context of a call, as far as it is asked for."""

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        """Return what the transport knows of the peer."""
        ...


def peer_certificate(context: Authenticated, reader: CertificateReader) -> Certificate | None:
    """Return the certificate of the peer; None where it has presented none.

    The whole certificate is read, since gRPC's own properties of it do not say which kind an
    alternative name is, and end a text at its first NUL. The port must be one that accepts only
    certificates of the configured authority.

    Raises:
        Unauthenticated: it cannot be read.
    """
    for encoded in context.auth_context().get(_PEM, ()):
        return reader.read(encoded)
    return None
